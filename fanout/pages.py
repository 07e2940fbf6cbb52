"""Pages of stored events for receivers that are behind the tail, shared by those of a generation at the same place.

A page begins at a round number, so that receivers with different cursors ask for the same pages; one that is being
read is read once, whoever waits for it. What is kept is bounded. So is what a kept page stands for: it serves whoever
needs no more than what was stored when it was read, unless no event can ever come to lie within it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from fanout import metrics
from fanout.delivery import Leg
from fanout.events import Event
from fanout.generation import Generation
from fanout.store import events as store
from shared.db.errors import DatabaseUnavailable
from shared.log import get_logger
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process

__all__ = ["Pages"]

# About 80 pages of usual length.
KEPT_BYTES = 24 * 1024 * 1024
# What an event costs beside its JSON.
EVENT_BYTES = 200
# An administrator may delete what a page holds.
KEPT_S = 60.0
# A statement that is cancelled ends at once, unless the server hangs.
CLOSE_WITHIN_S = 1.0


class _Key(NamedTuple):
    generation: Generation
    stream_id: UUID
    epoch: int | None  # None: pages by position
    after: int


class _Page(NamedTuple):
    events: list[Event]
    more: bool  # there may be events behind the last
    complete_up_to: float  # position: all up to it that belong into the page are in it
    size: int
    kept_until: float


log = get_logger(__name__)

_Read = Callable[[StreamRef, _Key, int], Awaitable[_Page]]


class Pages:
    """Reads pages of the events table."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.kept: OrderedDict[_Key, _Page] = OrderedDict()
        self.kept_bytes = 0
        self._reading: dict[_Key, asyncio.Task[_Page]] = {}
        self._forgotten: set[asyncio.Task[_Page]] = set()  # while they were reading

    async def of_epoch(
        self,
        ref: StreamRef,
        stream_id: UUID,
        generation: Generation,
        *,
        epoch: int,
        after_seq: int,
        stored_up_to: int,
    ) -> list[Event]:
        """Return the next events of an epoch after a seq, in order of seq; empty when the epoch has no more.

        stored_up_to: a position that is known to be stored; all events up to it are included, and there may be later
        ones among them.
        """
        key = _Key(generation, stream_id, epoch, after_seq - after_seq % store.READ_EVENTS)
        while True:
            page = await self._get(ref, key, stored_up_to, self._read_epoch)
            events = [event for event in page.events if event.seq > after_seq]
            if events or not page.more:
                return events
            key = key._replace(after=page.events[-1].seq)

    async def after_position(
        self, ref: StreamRef, stream_id: UUID, generation: Generation, *, position: int, stored_up_to: int
    ) -> list[Event]:
        """Return the next events after a position, in order of position; empty when none follows.

        stored_up_to: a position that is known to be stored.
        """
        key = _Key(generation, stream_id, None, position - position % store.READ_EVENTS)
        while True:
            page = await self._get(ref, key, stored_up_to, self._read_positions)
            events = [event for event in page.events if event.position > position]
            if events or not page.more:
                return events
            key = key._replace(after=page.events[-1].position)

    async def late(
        self, ref: StreamRef, stream_id: UUID, generation: Generation, leg: Leg
    ) -> tuple[list[Event], bool]:
        """Return the next late events of a leg that were stored up to its horizon, in order of seq, and whether there
        are more. Nobody else is at the same place: such a page is not kept.
        """
        rows = await store.read_late_page(
            self._process.pool,
            stream_id,
            epoch=leg.epoch,
            seqs=(leg.after_seq, leg.up_to_seq),
            positions=(leg.above_position, leg.horizon),
        )
        metrics.PAGES_READ.inc()
        return generation.encode(ref, rows.events), rows.more

    def forget(self, stream_id: UUID) -> None:
        """Keep no page of a stream: what they hold may have been deleted."""
        for key in [key for key in self.kept if key.stream_id == stream_id]:
            self.kept_bytes -= self.kept.pop(key).size
        # One that is being read may hold it, too: who waits for it asked before the deletion, and whoever comes later
        # reads anew.
        for key in [key for key in self._reading if key.stream_id == stream_id]:
            self._forgotten.add(self._reading.pop(key))

    async def close(self) -> None:
        """Give up what is being read. Called when no session is left that could wait for it; what hangs in the
        database is left to end alone.
        """
        reading = [*self._reading.values(), *self._forgotten]
        for task in reading:
            task.cancel()
        if reading:
            await asyncio.wait(reading, timeout=CLOSE_WITHIN_S)

    async def _get(self, ref: StreamRef, key: _Key, up_to: int, read: _Read) -> _Page:
        page = self.kept.get(key)
        if page is not None and page.complete_up_to >= up_to and monotonic() < page.kept_until:
            self.kept.move_to_end(key)
            metrics.PAGES_SHARED.inc()
            return page
        task = self._reading.get(key)
        if task is None:
            # No receiver's: it goes on when the one that has begun it ends. It is the node's, which ends it (`close`).
            # Whoever waits has its error, so it is in no group, which would cancel what others read.
            task = self._reading[key] = asyncio.create_task(
                self._keep(key, read(ref, key, up_to)), name="page"
            )
            task.add_done_callback(self._forgotten.discard)
            task.add_done_callback(_failed)
        else:
            metrics.PAGES_SHARED.inc()
        # One receiver's end must not take the page away from the others that wait for it.
        page = await asyncio.shield(task)
        # It may have been asked for by somebody who needed less, before what we know of was stored.
        if page.complete_up_to < up_to:
            return await self._get(ref, key, up_to, read)
        return page

    async def _keep(self, key: _Key, reading: Awaitable[_Page]) -> _Page:
        try:
            page = await reading
        finally:
            # Before it is kept, and whatever came of it: whoever asks next finds the page, or reads it anew. Another
            # may have the place of one that was forgotten.
            is_current = self._reading.get(key) is asyncio.current_task()
            if is_current:
                del self._reading[key]
        metrics.PAGES_READ.inc()
        if not is_current:
            return page
        # One that was not complete enough for somebody: this one is, and takes its place and its bytes.
        before = self.kept.pop(key, None)
        self.kept[key] = page
        self.kept_bytes += page.size - (before.size if before else 0)
        while self.kept_bytes > KEPT_BYTES:
            _, oldest = self.kept.popitem(last=False)
            self.kept_bytes -= oldest.size
        return page

    async def _read_epoch(self, ref: StreamRef, key: _Key, up_to: int) -> _Page:
        rows = await store.read_epoch_page(
            self._process.pool, key.stream_id, epoch=key.epoch or 0, after_seq=key.after
        )
        events = key.generation.encode(ref, rows.events)
        # Without a gap there is no place where an event could still come in.
        whole = rows.more and events[-1].seq - key.after == len(events)
        return _page(events, rows.more, inf if whole else up_to)

    async def _read_positions(self, ref: StreamRef, key: _Key, up_to: int) -> _Page:
        rows = await store.read_position_page(self._process.pool, key.stream_id, after_position=key.after)
        events = key.generation.encode(ref, rows.events)
        return _page(events, rows.more, inf if rows.more else up_to)


def _page(events: list[Event], more: bool, complete_up_to: float) -> _Page:
    size = sum(len(event.json) + EVENT_BYTES for event in events)
    return _Page(events, more, complete_up_to, size, monotonic() + KEPT_S)


def _failed(task: asyncio.Task[_Page]) -> None:
    """Look at a failure, which may have lost all who waited for it. That the database is away is told by the loops."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, DatabaseUnavailable):
        log.error("task_failed", task="page", exc_info=error)
