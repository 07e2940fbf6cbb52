"""The states, looked at when a test says so."""

from datetime import datetime, timedelta
from typing import Any

from api.alerts.evaluator import Evaluation
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
