"""Reads are not stored, or soon will not be: what is said of the database and its disk (api/storage/rules.py)."""

from collections.abc import Sequence

from api.alerts.conditions import Bound, Condition, Finding, Key
from api.alerts.rule import Rule, each
from api.storage import rules as storage_rules
from api.storage.rules import StorageFacts
from api.storage.store import storage
from shared.db.connections import Connection

__all__ = ["DATABASE", "RULE", "database"]

DATABASE = Key("database", "database", "database")


async def database(connection: Connection, _wanted: Sequence[str]) -> Sequence[StorageFacts]:
    """Return what is known of the one that there is."""
    return [await storage(connection)]


def _finding(facts: StorageFacts) -> Finding:
    said = storage_rules.judged(facts)
    conditions = [] if said is None else [Condition(said[0], 0, said[1])]
    if (why := storage_rules.hangs(facts)) is not None:
        conditions.append(Condition("act", storage_rules.HANGS_AFTER_S, why))
    return Finding(DATABASE, "database", conditions, storage_rules.ADVICE, "reads are stored")


RULE = Rule(
    signal="database",
    condition="its state",
    order=110,
    bound=Bound.holding(0, 0),
    source=database,
    findings=each(_finding),
    actions=("open_log",),
)
