"""Acks on their way to the database: only the furthest of each cursor, a few writes a second for the whole node.

An ack that waits here when the process dies is lost, and its events come again at the next connection, which is what
"at least once" means. At an orderly stop nothing is lost: the app flushes after the last connection is closed.

A cursor that was deleted makes void what waits here for it, and its sessions begin anew with the stream: at once where
the deletion is known, at the latest with the next ack or look.
"""

from collections.abc import Iterable
from itertools import groupby, islice
from time import monotonic
from typing import Protocol
from uuid import UUID

from fanout import metrics
from fanout.delivery import Cursor
from fanout.store import cursors as store
from fanout.store.cursors import CursorKey
from shared.db.channels import CURSORS
from shared.db.errors import DatabaseRefused, DatabaseUnavailable, RowLocked
from shared.log import get_logger
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process

__all__ = ["Cursors", "Holder"]

WRITE_EVERY_S = 0.3
# What a write carries at the most; the rest goes with the next.
WRITE_CURSORS = 5_000
# How soon a deletion is found whose notification was lost, of so many cursors at a time.
LOOK_EVERY_S = 5.0
LOOK_CURSORS = 10_000

log = get_logger(__name__)

_Unwritten = tuple[CursorKey, Cursor]


class Holder(Protocol):
    """Who holds cursors of a stream, and wants to know that they were deleted."""

    def restart(self, ref: StreamRef) -> None:
        """Begin anew with a stream; must return at once."""


class Cursors:
    """The cursors that sessions of this node hold, and those that moved since the last write."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.unwritten: dict[CursorKey, Cursor] = {}
        self.holders: dict[int, dict[Holder, StreamRef]] = {}  # by cursor id
        self._doubtful: set[int] = set()  # cursors that may have been deleted
        self.look_at = 0.0
        self._loop = process.loop("cursors", self._write_and_look, poll_s=WRITE_EVERY_S)
        process.listener.on(CURSORS, self.on_notification)

    def hold(self, cursor_ids: Iterable[int], holder: Holder, ref: StreamRef) -> None:
        """Have `holder` begin anew with a stream when one of these cursors is deleted."""
        for cursor_id in cursor_ids:
            self.holders.setdefault(cursor_id, {})[holder] = ref

    def release(self, cursor_ids: Iterable[int], holder: Holder) -> None:
        """Tell `holder` of these no more."""
        for cursor_id in cursor_ids:
            holders = self.holders.get(cursor_id, {})
            holders.pop(holder, None)
            if not holders:
                self.holders.pop(cursor_id, None)

    def advance(self, key: CursorKey, cursor: Cursor) -> None:
        """Note what a receiver has; of two sessions' words the one counts that falls behind the other nowhere."""
        known = self.unwritten.get(key)
        if known is None or cursor.covers(known):
            self.unwritten[key] = cursor

    async def run(self) -> None:
        """Write what has moved, until the process stops."""
        await self._loop.run()

    async def _write_and_look(self) -> None:
        await self._write_moved()
        await self.look_for_deletions()

    async def flush(self) -> None:
        """Write what has moved by now, as the last thing; what cannot be written is lost, and delivered again."""
        try:
            # The loop's last write may still be under way: whichever of the two comes second takes no cursor back.
            await self._write_moved()
        except DatabaseUnavailable as error:
            log.warning("cursors_unwritten", cursors=len(self.unwritten), error=str(error))

    async def _write_moved(self) -> None:
        """Write what has moved; what cannot be written stays for the next time."""
        # Acks that come while they are written gather in the new one, and are never wiped out by what comes back.
        unwritten, self.unwritten = self.unwritten, {}
        waiting = list(unwritten.items())
        while waiting:
            taken, waiting = waiting[:WRITE_CURSORS], waiting[WRITE_CURSORS:]
            try:
                await self._write(taken)
            except DatabaseRefused as error:
                # Kept and tried again, though the data are said to be at fault: an ack costs nothing to keep, and one
                # that is dropped has its events sent again.
                log.warning("cursors_unwritten", cursors=len(unwritten), error=str(error))
                self._keep(taken + waiting)
                return
            except DatabaseUnavailable:
                self._keep(taken + waiting)
                raise

    async def _write(self, unwritten: list[_Unwritten]) -> None:
        """Write cursors; where an administrator holds rows of a stream, those of all others."""
        try:
            self._restart(await store.advance_cursors(self._process.pool, dict(unwritten)))
        except RowLocked:
            # All of the statement was rolled back. Stream by stream, so that one administrator holds up the acks of
            # his stream alone.
            for stream_id, of_stream in groupby(sorted(unwritten, key=_stream), key=_stream):
                await self._write_alone(stream_id, dict(of_stream))
        metrics.CURSOR_WRITES.inc()

    async def _write_alone(self, stream_id: UUID, unwritten: dict[CursorKey, Cursor]) -> None:
        try:
            self._restart(await store.advance_cursors(self._process.pool, unwritten))
        except RowLocked:
            log.debug("cursors_wait", stream_id=str(stream_id), cursors=len(unwritten))
            self._keep(unwritten.items())

    def _keep(self, unwritten: Iterable[_Unwritten]) -> None:
        """Have them written the next time, unless they have moved on since."""
        for key, cursor in unwritten:
            self.advance(key, cursor)

    def on_notification(self, payload: str) -> None:
        """Note which cursors are said to be deleted; any of them, where the notification does not say."""
        if payload:
            # One that a session is about to hold, whose row it has just read, is not among them: its next ack finds no
            # row, or the next look at all finds it.
            self._doubtful |= {int(each) for each in payload.split(",")} & self.holders.keys()
        else:
            self.look_at = 0.0

    async def look_for_deletions(self) -> None:
        """Look whether the rows are still there: a notification may name what was made anew, or be lost."""
        # Taken before the question: who is named while we ask may have been deleted after it.
        doubtful, self._doubtful = self._doubtful, set()
        if monotonic() >= self.look_at:
            self.look_at = monotonic() + LOOK_EVERY_S
            doubtful |= self._next_to_look_at()
        if not doubtful:
            return
        try:
            self._restart(await store.gone_cursors(self._process.pool, doubtful))
        except DatabaseUnavailable:
            self._doubtful |= doubtful
            raise

    def _next_to_look_at(self) -> set[int]:
        """Return the cursors that have not been looked at for longest, and let the others come first next time."""
        next_ids = list(islice(self.holders, LOOK_CURSORS))
        for cursor_id in next_ids:
            self.holders[cursor_id] = self.holders.pop(cursor_id)
        return set(next_ids)

    def _restart(self, gone: Iterable[int]) -> None:
        for cursor_id in gone:
            # Off the list before they are told: each begins anew and holds other rows. It is told of a deletion once.
            for holder, ref in self.holders.pop(cursor_id, {}).items():
                holder.restart(ref)


def _stream(unwritten: _Unwritten) -> UUID:
    return unwritten[0].stream_id
