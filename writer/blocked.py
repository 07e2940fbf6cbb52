"""The streams that an error of the database keeps us from writing: they wait with all that they have, in order.

A damaged page, or a right that somebody revoked, is nobody's data: what is staged of such a stream stays in the inbox
until the database is mended, and its forwarder's ack with it. Other streams go on. Two lines in the log, however long
it lasts and however many streams it meets: one when it begins, one when it is over.

Pure: the clock comes in, and what to try again comes out.
"""

from collections.abc import Callable
from uuid import UUID

from shared.errors import RtServerError
from shared.log import get_logger

__all__ = ["BlockedStreams"]

# How soon a stream is tried again, and how soon after one that failed the next: where thousands wait for the same
# cause, looking whether it is gone must not cost more than the work of all others.
AGAIN_S = 0.5
BETWEEN_S = 0.1

log = get_logger(__name__)


class BlockedStreams:
    """What is at fault now, and since when nothing at all could be stored."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[UUID, float] = {}  # when each stream is tried again, the first of them first
        self._next_at = 0.0
        self._nothing_stored = False
        self._error = ""
        self.failures = 0

    @property
    def streams(self) -> list[UUID]:
        """The streams that no drain of several may take: it would fail as a whole."""
        return list(self._due)

    @property
    def problem(self) -> str | None:
        """What is at fault, or None."""
        if not self._due:
            return None
        count = len(self._due)
        return f"{count} {'stream' if count == 1 else 'streams'} cannot be written: {self._error}"

    @property
    def total(self) -> bool:
        """Whether nothing has been stored since it began."""
        return bool(self._due) and self._nothing_stored

    def add(self, stream_id: UUID, error: RtServerError) -> None:
        """Note that a stream cannot be written, now or still."""
        self._error = str(error)
        if not self._due:
            self._nothing_stored = True
            log.error("drain_fault", stream_id=str(stream_id), error=self._error)
        self.failures += 1
        self.postpone(stream_id)
        self._next_at = self._clock() + BETWEEN_S

    def postpone(self, stream_id: UUID) -> None:
        """Have a stream wait for its next turn, behind all others."""
        self._due.pop(stream_id, None)
        self._due[stream_id] = self._clock() + AGAIN_S

    def next_due(self) -> UUID | None:
        """Return a stream to try again now, or None."""
        now = self._clock()
        if now < self._next_at:
            return None
        return next((stream_id for stream_id, at in self._due.items() if at <= now), None)

    def stored(self) -> None:
        """Note that something else could be stored."""
        self._nothing_stored = False

    def over(self, stream_id: UUID) -> None:
        """Note that a stream can be written again, or has nothing left to write."""
        if self._due.pop(stream_id, None) is not None and not self._due:
            log.info("drain_fault_over", error=self._error)
