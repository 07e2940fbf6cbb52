"""Acks on their way to the database: only the highest of each cursor, a few writes a second for the whole node.

An ack that waits here when the process dies is lost, and its events come again at the next connection, which is what
"at least once" means. At an orderly stop nothing is lost: the app flushes after the last peer is closed.
"""

from collections.abc import Iterable
from itertools import groupby
from uuid import UUID

from fanout import metrics, store
from fanout.store import CursorKey
from shared.errors import DatabaseRefused, DatabaseUnavailable
from shared.log import get_logger
from shared.process import Process

__all__ = ["Cursors"]

WRITE_EVERY_S = 0.3
# What a write carries at the most; the rest goes with the next.
WRITE_CURSORS = 5_000

log = get_logger(__name__)

_Moved = tuple[CursorKey, int]


class Cursors:
    """The cursors that moved since the last write."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._moved: dict[CursorKey, int] = {}

    def advance(self, key: CursorKey, last_seq: int) -> None:
        """Note that a receiver is done with everything up to `last_seq`; never moves a cursor back."""
        if last_seq > self._moved.get(key, -1):
            self._moved[key] = last_seq

    async def run(self) -> None:
        """Write what has moved, until the process stops."""
        while not self._process.stop.asked:
            await self._process.stop.sleep(WRITE_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has moved by now; what cannot be written stays for the next time."""
        moved, self._moved = self._moved, {}
        waiting = list(moved.items())
        while waiting:
            taken, waiting = waiting[:WRITE_CURSORS], waiting[WRITE_CURSORS:]
            try:
                await self._write(taken)
            except (DatabaseUnavailable, DatabaseRefused) as error:
                # Refused: a stream was deleted between the look and the write; the next look does not see it.
                log.warning("cursors_unwritten", cursors=len(moved), error=str(error))
                self._keep(taken + waiting)
                return

    async def _write(self, moved: list[_Moved]) -> None:
        """Write cursors; where an administrator holds rows of a stream, those of all others."""
        try:
            await store.advance_cursors(self._process.pool, dict(moved))
        except store.RowLocked:
            for stream_id, of_stream in groupby(sorted(moved, key=_stream), key=_stream):
                await self._write_alone(stream_id, dict(of_stream))
        metrics.CURSOR_WRITES.inc()

    async def _write_alone(self, stream_id: UUID, moved: dict[CursorKey, int]) -> None:
        try:
            await store.advance_cursors(self._process.pool, moved)
        except store.RowLocked:
            log.debug("cursors_wait", stream_id=str(stream_id), cursors=len(moved))
            self._keep(moved.items())

    def _keep(self, moved: Iterable[_Moved]) -> None:
        """Have them written the next time, unless they have moved on since."""
        for key, last_seq in moved:
            self.advance(key, last_seq)


def _stream(moved: _Moved) -> UUID:
    return moved[0].stream_id
