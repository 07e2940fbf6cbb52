"""The activity log."""

from typing import Any
from uuid import UUID

from api.http.types import Answer, Time
from shared.runtime.activity import Level

__all__ = ["LogEntry", "Logs"]


class LogEntry(Answer):
    """What happened, in which process, when it was written down; the event's name says which fields there are."""

    activity_id: int
    at: Time
    level: Level
    process_id: UUID
    event: str
    fields: dict[str, Any]


class Logs(Answer):
    """The last 500 entries of the cluster, the newest first."""

    entries: list[LogEntry]
