"""Whether reads are stored: what is said of the database and its disk. Pure.

It is found by reading alone. Where nothing can be written nobody can keep an alert either; so the page judges for
itself, too (live/snapshot.py), and does not wait for the look that would.
"""

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from shared.db.errors import DISK_FULL

__all__ = ["ADVICE", "StorageFacts", "judged"]

# The oldest read of the inbox waits for less than a tenth of a second, but while writers catch up.
WAITS_S = 5.0
LITTLE_BYTES, LITTLE_RATIO = 2**30, 0.05
CONNECTIONS_RATIO = 0.9
ADVICE = (
    "Nothing is lost: forwarders keep what is not acknowledged and send it again. Make room on the database's disk, or "
    "mend what it says; the writers go on by themselves."
)

Judgement: TypeAlias = tuple[Literal["watch", "act"], str]


class StorageFacts(NamedTuple):
    """The database. writers, storing: how many writers live, and are ready. problem: what a writer says that is not, or
    any process of a full disk. waiting_s: for how long the oldest read has waited. free_bytes and disk_bytes are known
    only beside the database. commit_ms: how long a commit of the slowest writer takes. evaluated_at: when the states
    were looked at last, or since when somebody could have.
    """

    writers: int
    storing: int
    problem: str | None
    waiting_parts: int
    waiting_s: float
    size_bytes: int
    free_bytes: int | None
    disk_bytes: int | None
    connections: int
    connections_max: int
    answer_ms: float
    commit_ms: float | None
    evaluated_at: datetime


def judged(facts: StorageFacts) -> Judgement | None:
    """Return how bad it is and why; None when all is well."""
    return _stops(facts) or _runs_short(facts)


def _stops(facts: StorageFacts) -> Judgement | None:
    if facts.problem is not None and not facts.storing:
        return "act", f"reads wait and nothing is stored: {facts.problem}"
    if facts.problem is not None and DISK_FULL in facts.problem:
        return "act", f"the database takes nothing in: {facts.problem}"
    if not facts.writers and facts.waiting_parts:
        return "act", "reads wait and nothing is stored: no writer runs"
    return None


def _runs_short(facts: StorageFacts) -> Judgement | None:
    little = max(LITTLE_BYTES, LITTLE_RATIO * (facts.disk_bytes or 0))
    if facts.waiting_s >= WAITS_S:
        return "watch", f"reads wait for more than {WAITS_S:.0f} s until they are stored"
    if facts.free_bytes is not None and facts.free_bytes < little:
        return "watch", "the database's disk is nearly full"
    if facts.connections >= CONNECTIONS_RATIO * facts.connections_max:
        return "watch", "nearly all connections of the database are used"
    return None
