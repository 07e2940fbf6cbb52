"""Pages of stored events for receivers that are behind the tail, shared by those at the same place.

A page begins at a round number, so that receivers with different cursors ask for the same pages; one that is being
read is read once, whoever waits for it. What is kept is bounded, and bounded too is how long a page may stand in for
the database: it was complete up to the position that its reader asked for, and serves only who asks for no more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from fanout import metrics, store
from fanout.events import Event, encode
from fanout.store import EventRow
from shared.messages import StreamRef
from shared.process import Process

__all__ = ["Pages"]

PAGE_EVENTS = 1_000
# About 300 kB each.
KEPT_PAGES = 64


class _Key(NamedTuple):
    stream_id: UUID
    epoch: int | None  # None: pages by position
    after: int


class _Page(NamedTuple):
    complete_up_to: int  # position
    events: list[Event]


class Pages:
    """Reads pages of the events table."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kept: OrderedDict[_Key, _Page] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[_Page]] = {}

    async def of_epoch(
        self, ref: StreamRef, stream_id: UUID, *, epoch: int, after_seq: int, horizon: int
    ) -> list[Event]:
        """Return the next events of an epoch after a seq, those with positions up to `horizon` all included.

        In order of seq; events beyond the horizon may be among them. Empty when the epoch has no more.
        """
        key = _Key(stream_id, epoch, after_seq - after_seq % PAGE_EVENTS)
        page = await self._get(
            ref,
            key,
            horizon,
            lambda: store.read_epoch_page(
                self._process.pool, stream_id, epoch=epoch, after_seq=key.after, limit=PAGE_EVENTS
            ),
        )
        return [event for event in page.events if event.seq > after_seq]

    async def after_position(
        self, ref: StreamRef, stream_id: UUID, *, position: int, head: int
    ) -> list[Event]:
        """Return the next events after a position, in order of position; `head` is known to be stored."""
        key = _Key(stream_id, None, position - position % PAGE_EVENTS)
        page = await self._get(
            ref,
            key,
            min(head, key.after + PAGE_EVENTS),
            lambda: store.read_position_page(
                self._process.pool, stream_id, after_position=key.after, limit=PAGE_EVENTS
            ),
        )
        return [event for event in page.events if event.position > position]

    async def _get(
        self, ref: StreamRef, key: _Key, up_to: int, read: Callable[[], Awaitable[list[EventRow]]]
    ) -> _Page:
        page = self._kept.get(key)
        if page is not None and page.complete_up_to >= up_to:
            self._kept.move_to_end(key)
            metrics.PAGES_SHARED.inc()
            return page
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._read(ref, key, up_to, read), name="page")
            task.add_done_callback(_no_news)
        else:
            metrics.PAGES_SHARED.inc()
        # One receiver's end must not take the page away from the others that wait for it.
        page = await asyncio.shield(task)
        if page.complete_up_to < up_to:
            return await self._get(ref, key, up_to, read)
        return page

    async def _read(
        self, ref: StreamRef, key: _Key, up_to: int, read: Callable[[], Awaitable[list[EventRow]]]
    ) -> _Page:
        try:
            page = _Page(up_to, encode(ref, await read()))
        finally:
            del self._reading[key]
        metrics.PAGES_READ.inc()
        self._kept[key] = page
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_PAGES:
            self._kept.popitem(last=False)
        return page


def _no_news(task: asyncio.Task[_Page]) -> None:
    """Look at a failure that may have lost all who waited for it."""
    if not task.cancelled():
        task.exception()
