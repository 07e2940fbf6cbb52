"""The clocks of machines that take reads in: each is told of once, with how far it is off, and of others nothing."""

from typing import Any

from api.alerts.evaluator import Evaluation
from tests.api.conftest import Ask
from tests.api.looking import looked
from tests.api.seeds import Database, add_process

_SAY = "UPDATE processes SET host = $2, clock_ahead_ms = $3, clock_kept = $4 WHERE process_id = $1"
_LAST = "UPDATE troubles SET noticed_at = noticed_at - interval '6 seconds' WHERE signal = 'machine_clock'"


async def machine(
    database: Database, host: str, ahead_ms: float | None, *, kept: bool | None, role: str = "gateway"
) -> None:
    await database.execute(_SAY, await add_process(database, role), host, ahead_ms, kept)


async def told(ask: Ask, evaluation: Evaluation, database: Database) -> dict[str, Any]:
    await looked(ask, evaluation)
    await database.execute(_LAST)
    alerts = (await looked(ask, evaluation))["troubles"]
    return {
        each["title"]: (each["level"], each["reason"]) for each in alerts if each["signal"] == "machine_clock"
    }


async def test_a_machine_of_gateways_is_amber_when_it_is_off_or_nobody_keeps_its_clock(
    ask: Ask, evaluation: Evaluation, database: Database
) -> None:
    await machine(database, "right", 49.0, kept=True)
    await machine(database, "unasked", None, kept=None)
    await machine(database, "late", -51.0, kept=True)
    await machine(database, "late", -180.0, kept=None)
    await machine(database, "free", 0.3, kept=False)
    await machine(database, "far", 8 * 60_000, kept=True)
    await machine(database, "elsewhere", 3_600_000, kept=False, role="api")
    assert await told(ask, evaluation, database) == {
        "machine late": ("watch", "its clock is 180 ms behind the database's"),
        "machine free": ("watch", "nobody keeps its clock"),
        "machine far": ("watch", "its clock is 8 min ahead of the database's"),
    }
