"""Reads are not stored, or soon will not be: what is said of the database and its disk.

It is found by reading alone. Where nothing can be written nobody can keep an alert either; so the page asks this rule
itself, too (api/alerts/unkept.py), and does not wait for the look that would. Nor can who looks at the states say that
nobody does: that is seen by the page alone.
"""

from collections.abc import Sequence
from datetime import datetime

from api.alerts.conditions import Bound, Condition, Finding, Key, Level
from api.alerts.rule import Rule, each
from api.storage.facts import UNSEEN, StorageFacts
from api.storage.store import storage
from shared.db.connections import Connection
from shared.db.errors import DISK_FULL

__all__ = ["DATABASE", "RULE", "database"]

DATABASE = Key("database", "database", "database")
# The oldest read of the inbox waits for less than a tenth of a second, but while writers catch up.
WAITS_S = 5.0
LITTLE_BYTES, LITTLE_RATIO = 2**30, 0.05
CONNECTIONS_RATIO = 0.9
# Writers say every second and a half what they have stored: one that was away has said it by then.
HANGS_AFTER_S = 2.0
# The states are looked at once a second, and of very many streams every five to ten.
UNSEEN_WATCH_S, UNSEEN_ACT_S = 15.0, 30.0
ADVICE = (
    "Nothing is lost: forwarders keep what is not acknowledged and send it again. Make room on the database's disk, or "
    "mend what it says; the writers go on by themselves."
)
UNSEEN_ADVICE = (
    "What is amber and red was so when it was last looked at, and what has begun since is not shown. Reads are stored "
    "all the same. The log says above its entries what keeps each process from it. Mend what it says: end a session of "
    "the database that holds a lock (the runbook names it), or give a right back. Else start the api's processes again."
)


async def database(connection: Connection, _wanted: Sequence[str]) -> Sequence[StorageFacts]:
    """Return what is known of the one that there is."""
    return [await storage(connection)]


def _finding(facts: StorageFacts) -> Finding:
    found: Sequence[tuple[Level, float, str | None]] = (
        ("act", 0.0, _stops(facts)),
        ("act", HANGS_AFTER_S, _hangs(facts)),
        ("watch", 0.0, _runs_short(facts)),
    )
    conditions = [Condition(level, after_s, why) for level, after_s, why in found if why is not None]
    return Finding(DATABASE, "database", conditions, ADVICE, "reads are stored")


def _unkept(facts: StorageFacts, now: datetime) -> Finding | None:
    """What stops the writers stops who would keep an alert, too; else it may be that nobody looks."""
    if (why := _stops(facts)) is not None:
        stopped = Condition("act", 0, why, facts.evaluated_at)
        return Finding(DATABASE, "database", [stopped], ADVICE, "reads are stored")
    age_s = (now - facts.evaluated_at).total_seconds()
    if age_s < UNSEEN_WATCH_S:
        return None
    level: Level = "act" if age_s >= UNSEEN_ACT_S else "watch"
    unseen = Condition(level, 0, facts.unseen or UNSEEN, facts.evaluated_at)
    return Finding(DATABASE, "database", [unseen], UNSEEN_ADVICE, "the states are looked at")


def _stops(facts: StorageFacts) -> str | None:
    if facts.problem is not None and not facts.storing:
        return f"reads wait and nothing is stored: {facts.problem}"
    if facts.problem is not None and DISK_FULL in facts.problem:
        return f"the database takes nothing in: {facts.problem}"
    if not facts.writers and facts.waiting_parts:
        return "reads wait and nothing is stored: no writer runs"
    return None


def _hangs(facts: StorageFacts) -> str | None:
    """Writers are ready and say nothing, and reads wait: a drain that waits for a lock, or a commit for a standby.
    Writers that catch up do store, however long the oldest read has waited.
    """
    if facts.waiting_s >= WAITS_S and not facts.stored_per_second:
        return f"reads have waited for more than {WAITS_S:.0f} s and nothing is stored"
    return None


def _runs_short(facts: StorageFacts) -> str | None:
    little = max(LITTLE_BYTES, LITTLE_RATIO * (facts.disk_bytes or 0))
    if facts.waiting_s >= WAITS_S:
        return f"reads wait for more than {WAITS_S:.0f} s until they are stored"
    if facts.free_bytes is not None and facts.free_bytes < little:
        return "the database's disk is nearly full"
    if facts.connections >= CONNECTIONS_RATIO * facts.connections_max:
        return "nearly all connections of the database are used"
    return None


RULE = Rule(
    signal="database",
    condition="its state",
    order=110,
    bound=Bound.holding(0, 0),
    source=database,
    findings=each(_finding),
    unkept=_unkept,
    actions=("open_log",),
)
