"""What is known of the database and its disk at a moment."""

from datetime import datetime
from typing import NamedTuple

__all__ = ["UNSEEN", "StorageFacts"]

# How a process of the api begins to say why it cannot look at the states.
UNSEEN = "the states are not looked at"


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
