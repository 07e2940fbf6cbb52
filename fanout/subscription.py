"""One receiver's way through one stream: replay, then live.

    begin ─▶ replay, by (epoch, seq), of what was stored up to the horizon
          ─▶ live, by position, of what was stored after it: from the tail, or from pages while behind the tail

The horizon is the stream's newest position in the very snapshot that told what there is to replay. Every event has a
position either up to it or beyond it, so none is left out at the hand-over and none comes twice. Late events of old
epochs have positions beyond it and are live like all others.

What it holds is positions, and at most the rest of one page.
"""

from collections import deque
from uuid import UUID

from fanout.delivery import start_of
from fanout.events import Event, Slice, fitting, slice_of
from fanout.pages import Pages
from fanout.store import StartingPoint
from fanout.tail import Tail

__all__ = ["Subscription"]

_NOTHING = Slice(b"", 0, (), ())


class Subscription:
    """Where a receiver stands in a stream."""

    def __init__(self, tail: Tail, resume: dict[int, int]) -> None:
        self.tail = tail
        self.stream_id: UUID | None = None  # the stream that this has begun with
        self._resume = resume
        self._epochs: set[int] = set()
        self._replay: deque[tuple[int, int, int]] = deque()
        self._horizon = 0
        self._position = 0
        self._page: list[Event] = []  # the rest of the page that is being sent

    @property
    def awaits_start(self) -> bool:
        """Whether the stream exists (anew) and `begin` is due."""
        return self.tail.stream_id is not None and self.tail.stream_id != self.stream_id

    @property
    def needs_page(self) -> bool:
        """Whether what comes next does not come from the tail."""
        return bool(self._page or self._replay) or self._position < self.tail.start

    @property
    def holds_page(self) -> bool:
        """Whether there is a rest of a page."""
        return bool(self._page)

    @property
    def due(self) -> bool:
        """Whether there is anything to begin or to take."""
        return self.awaits_start or self.needs_page or self._position < self.tail.head

    def knows(self, epoch: int) -> bool:
        """Whether the receiver can have had events of this epoch."""
        return epoch in self._epochs

    def begin(self, stream_id: UUID, point: StartingPoint) -> dict[int, int]:
        """Start with the stream as it stands; returns the cursors by epoch that the resume implies.

        The resume is for the stream that the receiver knows: one that is made anew later starts without it.
        """
        start = start_of(epochs=point.epochs, stored=point.cursors, resume=self._resume)
        self.stream_id = stream_id
        self._resume = {}
        self._epochs = set(point.epochs)
        self._replay = deque(start.replay)
        self._horizon = self._position = point.last_position
        self._page = []
        return start.done

    async def take(self, pages: Pages, limit: int) -> Slice:
        """Return the next events, up to `limit`, and move on behind them; an empty slice when there are none."""
        taken = await self._next(pages, limit)
        self._epochs.update([sent.stream_epoch for sent in taken.sent])
        return taken

    async def _next(self, pages: Pages, limit: int) -> Slice:
        while (stream_id := self.stream_id) is not None:
            if self._page:
                return self._take_from_page(limit)
            if self._replay:
                await self._turn_replay_page(pages, stream_id)
                continue
            # Made anew, the stream counts its positions from 1 again: ours mean nothing in its tail.
            if self.tail.stream_id != stream_id:
                break
            found = self.tail.after(self._position, limit)
            if found is not None:
                taken, self._position = found
                return taken
            await self._turn_live_page(pages, stream_id)
        return _NOTHING

    def _take_from_page(self, limit: int) -> Slice:
        count = fitting(self._page, limit)
        taken = slice_of(self._page[:count])
        del self._page[:count]
        return taken

    async def _turn_replay_page(self, pages: Pages, stream_id: UUID) -> None:
        epoch, after_seq, newest = self._replay[0]
        events = await pages.of_epoch(
            self.tail.ref,
            stream_id,
            epoch=epoch,
            after_seq=after_seq,
            stored_up_to=max(self._horizon, self._head(stream_id)),
        )
        if events and events[-1].seq < newest:
            self._replay[0] = (epoch, events[-1].seq, newest)
        else:
            self._replay.popleft()
        self._page = [event for event in events if event.position <= self._horizon]

    async def _turn_live_page(self, pages: Pages, stream_id: UUID) -> None:
        head = self.tail.head
        events = await pages.after_position(
            self.tail.ref, stream_id, position=self._position, stored_up_to=head
        )
        self._page = events
        # Nothing there although the head is ahead: an administrator has deleted it.
        self._position = events[-1].position if events else head

    def _head(self, stream_id: UUID) -> int:
        """Return what of the stream is known to be stored: the more a page is asked for, the more it can serve."""
        return self.tail.head if self.tail.stream_id == stream_id else 0
