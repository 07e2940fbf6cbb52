"""The states, looked at when a test says so."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from api.alerts import findings
from api.alerts.evaluator import Evaluation
from api.storage.plans import FORGET
from tests.api.conftest import Ask
from tests.api.seeds import Database

OVERVIEW = "/api/v1/overview"


async def ago(database: Database, seconds: float) -> datetime:
    """That long ago, by the database's clock."""
    now: datetime = await database.fetchval("SELECT now()")
    return now - timedelta(seconds=seconds)


async def looked(ask: Ask, evaluation: Evaluation) -> Any:
    """Look, whosever turn it is, and return the overview."""
    assert await evaluation.look(turn_s=0)
    return await ask("GET", OVERVIEW)


async def asked(connection: Any) -> Sequence[tuple[Any, ...]]:
    """Read the facts of all rules, and return what was asked for them: statements, each with its arguments."""
    statements: list[tuple[Any, ...]] = []

    def note(record: Any) -> None:
        if record.query != FORGET:
            statements.append((record.query, *(record.args or ())))

    with connection.query_logger(note):
        await findings.gather(connection)
        await asyncio.sleep(0)  # the last one is noted a moment later
    return statements
