"""Whether reads are stored: what is said of the database and its disk. Pure.

It is found by reading alone. Where nothing can be written nobody can keep an alert either; so the page judges for
itself, too (live/snapshot.py), and does not wait for the look that would. Nor can who looks at the states say that
nobody does: that is judged by the page alone (`unseen`).
"""

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from shared.db.errors import DISK_FULL

__all__ = [
    "ADVICE",
    "HANGS_AFTER_S",
    "UNSEEN",
    "UNSEEN_ADVICE",
    "Judgement",
    "StorageFacts",
    "hangs",
    "judged",
    "unseen",
]

# The oldest read of the inbox waits for less than a tenth of a second, but while writers catch up.
WAITS_S = 5.0
LITTLE_BYTES, LITTLE_RATIO = 2**30, 0.05
CONNECTIONS_RATIO = 0.9
# Writers say every second and a half what they have stored: one that was away has said it by then.
HANGS_AFTER_S = 2.0
# The states are looked at once a second, and of very many streams every five to ten.
UNSEEN_WATCH_S, UNSEEN_ACT_S = 15.0, 30.0
# How a process begins to say why.
UNSEEN = "the states are not looked at"
ADVICE = (
    "Nothing is lost: forwarders keep what is not acknowledged and send it again. Make room on the database's disk, or "
    "mend what it says; the writers go on by themselves."
)
UNSEEN_ADVICE = (
    "What is amber and red was so when it was last looked at, and what has begun since is not shown. Reads are stored "
    "all the same. The log says above its entries what keeps each process from it. Mend what it says: end a session of "
    "the database that holds a lock (the runbook names it), or give a right back. Else start the api's processes again."
)

Judgement: TypeAlias = tuple[Literal["watch", "act"], str]


class StorageFacts(NamedTuple):
    """The database. writers, storing: how many writers live, and are ready. problem: what a writer says that is not,
    or any process of a full disk. waiting_s: for how long the oldest read has waited. free_bytes and disk_bytes are
    known only beside the database. commit_ms: how long a commit of the slowest writer takes. stored_per_second: how
    many events all writers have taken off the inbox in the last seconds. evaluated_at: when the states were looked at
    last, or since when somebody could have. unseen: why they cannot be, in a process's words.
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
    stored_per_second: float
    evaluated_at: datetime
    unseen: str | None


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


def hangs(facts: StorageFacts) -> str | None:
    """Return why it is red where writers are ready and say nothing, and reads wait: a drain that waits for a lock, or a
    commit for a standby. Writers that catch up do store, however long the oldest read has waited.
    """
    if facts.waiting_s >= WAITS_S and not facts.stored_per_second:
        return f"reads have waited for more than {WAITS_S:.0f} s and nothing is stored"
    return None


def unseen(facts: StorageFacts, now: datetime) -> Judgement | None:
    """Return how bad it is that the states are not looked at, and why; None while they are."""
    age_s = (now - facts.evaluated_at).total_seconds()
    if age_s < UNSEEN_WATCH_S:
        return None
    return "act" if age_s >= UNSEEN_ACT_S else "watch", facts.unseen or UNSEEN


def _runs_short(facts: StorageFacts) -> Judgement | None:
    little = max(LITTLE_BYTES, LITTLE_RATIO * (facts.disk_bytes or 0))
    if facts.waiting_s >= WAITS_S:
        return "watch", f"reads wait for more than {WAITS_S:.0f} s until they are stored"
    if facts.free_bytes is not None and facts.free_bytes < little:
        return "watch", "the database's disk is nearly full"
    if facts.connections >= CONNECTIONS_RATIO * facts.connections_max:
        return "watch", "nearly all connections of the database are used"
    return None
