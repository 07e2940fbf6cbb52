"""Acks on their way to the database: only the highest of each cursor, a few writes a second for the whole node.

An ack that waits here when the process dies is lost, and its events come again at the next connection, which is what
"at least once" means. At an orderly stop nothing is lost: the app flushes after the last peer is closed.
"""

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
                await store.advance_cursors(self._process.pool, dict(taken))
            except (DatabaseUnavailable, DatabaseRefused) as error:
                # Refused: a stream was deleted between the look and the write; the next look does not see it.
                log.warning("cursors_unwritten", cursors=len(moved), error=str(error))
                for key, last_seq in taken + waiting:
                    self.advance(key, last_seq)
                return
            metrics.CURSOR_WRITES.inc()
