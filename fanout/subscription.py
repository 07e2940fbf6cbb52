"""One receiver's way through one stream: replay, then live.

    begin ─▶ replay, by (epoch, seq), of what was stored up to the horizon
          ─▶ live, by position, of what was stored after it: from the tail, or from pages while behind the tail

The horizon is the stream's newest position in the very snapshot that told what there is to replay. Every event has a
position either up to it or beyond it, so none is left out at the hand-over and none comes twice. Late events of old
epochs have positions beyond it and are live like all others.
"""

from collections import deque
from uuid import UUID

from fanout.delivery import start_of
from fanout.events import Event, Slice, slice_of
from fanout.pages import Pages
from fanout.store import StartingPoint
from fanout.tail import Tail

__all__ = ["Subscription"]

_NOTHING = Slice(b"", 0, ())


class Subscription:
    """Where a receiver stands in a stream."""

    def __init__(self, tail: Tail, resume: dict[int, int]) -> None:
        self.tail = tail
        self.stream_id: UUID | None = None  # the stream that this has begun with
        self._resume = resume
        self._replay: deque[tuple[int, int]] = deque()
        self._horizon = 0
        self._position = 0
        self._page: deque[Event] = deque()  # the rest of the page that is being sent

    @property
    def awaits_start(self) -> bool:
        """Whether the stream exists (anew) and `begin` is due."""
        return self.tail.stream_id is not None and self.tail.stream_id != self.stream_id

    def begin(self, stream_id: UUID, point: StartingPoint) -> dict[int, int]:
        """Start with the stream as it stands; returns the cursors by epoch that the resume implies."""
        start = start_of(epochs=point.epochs, stored=point.cursors, resume=self._resume)
        self.stream_id = stream_id
        self._replay = deque(start.replay)
        self._horizon = self._position = point.last_position
        self._page.clear()
        return start.done

    async def take(self, pages: Pages, limit: int) -> Slice:
        """Return the next events, up to `limit`, and move on behind them; an empty slice when there are none."""
        if self.stream_id is None:
            return _NOTHING
        while self._page or self._replay:
            if self._page:
                return self._take_from_page(limit)
            await self._turn_replay_page(pages, self.stream_id)
        found = self.tail.after(self._position, limit)
        if found is not None:
            joined, self._position = found
            return joined
        await self._turn_live_page(pages, self.stream_id)
        return await self.take(pages, limit)

    def _take_from_page(self, limit: int) -> Slice:
        return slice_of([self._page.popleft() for _ in range(min(limit, len(self._page)))])

    async def _turn_replay_page(self, pages: Pages, stream_id: UUID) -> None:
        epoch, after_seq = self._replay[0]
        events = await pages.of_epoch(
            self.tail.ref, stream_id, epoch=epoch, after_seq=after_seq, horizon=self._horizon
        )
        if events:
            self._replay[0] = (epoch, events[-1].seq)
            self._page.extend(event for event in events if event.position <= self._horizon)
        else:
            self._replay.popleft()

    async def _turn_live_page(self, pages: Pages, stream_id: UUID) -> None:
        head = self.tail.head
        events = await pages.after_position(self.tail.ref, stream_id, position=self._position, head=head)
        self._page.extend(events)
        # Nothing there although the head is ahead: an administrator has deleted it.
        self._position = events[-1].position if events else head
