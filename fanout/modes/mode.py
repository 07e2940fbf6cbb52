"""What a mode is to its session."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, Protocol
from uuid import UUID

from fanout.sender import Source
from shared.protocol.v1 import AckEntry, StreamRef
from shared.protocol.v12 import ResumeCursor

__all__ = ["Applied", "Mode", "by_stream", "not_there_yet"]


class Applied(NamedTuple):
    """How a mode is understood at the moment. streams: how many of it exist. version: another one after each change of
    what the receiver is sent, whether the rest says so or not. has_race: whether there is the race that it follows.
    """

    summary: str
    streams: int
    warnings: tuple[str, ...] = ()
    version: int = 0
    has_race: bool = False


class Mode(Protocol):
    """A mode that a receiver is in. `changed` is set when `applied` or `streams` may say something else."""

    race_id: UUID | None  # the race that it follows, if there is such a one
    source: Source
    backlog_done: asyncio.Event
    changed: asyncio.Event

    async def start(self) -> None:
        """Find what there is of it; may be called again after DatabaseUnavailable."""

    def applied(self) -> Applied:
        """Return how it is understood."""

    def streams(self) -> dict[StreamRef, UUID]:
        """Return the streams of which the receiver is told more than their reads."""

    def go_live(self) -> None:
        """Send what is new, too, from now on."""

    def leave(self) -> None:
        """Follow nothing any more."""


def by_stream(resume: Iterable[AckEntry | ResumeCursor]) -> dict[StreamRef, dict[int, int]]:
    """Return what a receiver resumes as last_seq by epoch; of a cursor that is listed twice the higher counts."""
    found: dict[StreamRef, dict[int, int]] = {}
    for cursor in resume:
        epochs = found.setdefault(StreamRef(cursor.forwarder_id, cursor.reader_ip), {})
        epochs[cursor.stream_epoch] = max(cursor.last_seq, epochs.get(cursor.stream_epoch, 0))
    return found


def not_there_yet(ref: StreamRef) -> str:
    """Say that a stream does not exist."""
    return f"reader {ref.reader_ip} of forwarder {ref.forwarder_id} is not known yet"
