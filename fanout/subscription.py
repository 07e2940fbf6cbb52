"""One receiver's way through one stream: replay, then live.

    begin ─▶ replay, of what was stored up to the horizon: of each epoch first what came late, below the receiver's
             cursor but after it, then what lies above the cursor, each by seq
          ─▶ live, by position, of what was stored after it: from the tail, or from pages while behind the tail

The horizon is the stream's newest position in the very snapshot that told what there is to replay. Every event has a
position either up to it or beyond it, so none is left out at the hand-over and none comes twice. Late events have
positions beyond it once the receiver is live, and are live like all others.

What it holds is positions, what the receiver has of each epoch once all that was taken is acked, and at most the rest
of one page.
"""

from collections import deque
from typing import NamedTuple
from uuid import UUID

from fanout.delivery import NOTHING, Cursor, Leg, Step, start_of, unacked
from fanout.events import Event, Slice, fitting, slice_of
from fanout.pages import Pages
from fanout.store.cursors import StartingPoint
from fanout.tail import Tail

__all__ = ["Subscription", "Taken"]


class Taken(NamedTuple):
    """Events for a message, and what the receiver has of each epoch among them (as in `slice.sent`) with them and
    without. live: whether they came from the tail.
    """

    slice: Slice
    steps: tuple[Step, ...] = ()
    live: bool = False


_NOTHING = Taken(Slice(b"", 0, (), ()))


class Subscription:
    """Where a receiver stands in a stream."""

    def __init__(self, tail: Tail, resume: dict[int, int]) -> None:
        self.tail = tail
        self.stream_id: UUID | None = None  # the stream that this has begun with
        self.resume = resume
        self.cursor_ids: dict[int, int] = {}  # rows that acks of each epoch move
        self.new_epochs: set[int] = set()  # that come next and have no row yet
        self.proven: dict[
            int, Cursor
        ] = {}  # what the receiver has without any ack, by epoch, until it is taken up
        self._restarts = False
        self._reached: dict[int, Cursor] = {}  # what the receiver has once all that was taken is acked
        self._legs: deque[Leg] = deque()
        self._horizon = 0
        self._position = 0
        self._page: list[Event] = []  # the rest of the page that is being sent
        self._page_leg: Leg | None = None  # the leg of the replay that it belongs to; None: it is live
        self._page_ends_leg = False

    @property
    def awaits_start(self) -> bool:
        """Whether the stream exists (anew), or its cursors were deleted, and `begin` is due."""
        return self.tail.stream_id is not None and (self._restarts or self.tail.stream_id != self.stream_id)

    @property
    def needs_page(self) -> bool:
        """Whether what comes next does not come from the tail."""
        return bool(self._page or self._legs) or self._position < self.tail.start

    @property
    def holds_page(self) -> bool:
        """Whether there is a rest of a page."""
        return bool(self._page)

    @property
    def due(self) -> bool:
        """Whether there is anything to begin or to take."""
        return self.awaits_start or self.needs_page or self._position < self.tail.head

    def restart(self) -> None:
        """Begin anew before anything else is taken: what the receiver had does not count any more."""
        self._restarts = True

    def begin(self, stream_id: UUID, point: StartingPoint) -> None:
        """Start with the stream as it stands.

        The resume is for the stream that the receiver knows: one that is made anew later starts without it, and so does
        one whose cursors were deleted meanwhile.
        """
        # Another session of the receiver may have acked by now what this one is to be sent again.
        epochs = unacked(point.epochs) if self._restarts else point.epochs
        start = start_of(point.last_position, epochs)
        self.stream_id = stream_id
        self.resume = {}
        self.cursor_ids = dict(point.cursor_ids)
        self.new_epochs = set()
        self._restarts = False
        self._reached = dict(start.cursors)
        self._legs = deque(start.legs)
        self._horizon = point.last_position
        self._move_on(point.last_position)
        self._page, self._page_leg = [], None
        self.proven = start.resumed

    def begin_epochs(self, cursor_ids: dict[int, int]) -> None:
        """Go on with epochs that have begun since."""
        self.cursor_ids.update(cursor_ids)
        self.new_epochs -= set(cursor_ids)

    async def take(self, pages: Pages, limit: int) -> Taken:
        """Return the next events, up to `limit`, and move on behind them; none when there are none, or when
        `new_epochs` come first.
        """
        while (stream_id := self.stream_id) is not None and not self._restarts:
            if self._page:
                return self._take_from_page(limit)
            if self._legs:
                await self._turn_replay_page(pages, stream_id)
                continue
            # Made anew, the stream counts its positions from 1 again: ours mean nothing in its tail.
            if self.tail.stream_id != stream_id:
                break
            found = self.tail.after(self._position, limit)
            if found is None:
                await self._turn_live_page(pages, stream_id)
            else:
                return self._live(*found, live=True)
        return _NOTHING

    def _take_from_page(self, limit: int) -> Taken:
        count = fitting(self._page, limit)
        events = self._page[:count]
        if self._page_leg is None:
            taken = self._live(slice_of(events), events[-1].position, live=False)
        else:
            taken = self._replayed(self._page_leg, events)
        if taken.steps:
            del self._page[:count]
        return taken

    def _replayed(self, leg: Leg, events: list[Event]) -> Taken:
        """Say what the receiver has with the next events of a leg."""
        if self._page_ends_leg and len(events) == len(self._page):
            reached = leg.end
        elif leg.late:
            # A seq below the cursor tells nobody which of the late ones are there: they count together.
            reached = leg.begin
        else:
            reached = _further(self._reached[leg.epoch], events[-1].seq, self._horizon, len(events))
        return Taken(slice_of(events), (self._step(leg.epoch, reached),))

    def _live(self, found: Slice, position: int, *, live: bool) -> Taken:
        """Say what the receiver has with events up to `position`; none where a new epoch's row must come first."""
        self.new_epochs = {sent.stream_epoch for sent in found.sent} - self.cursor_ids.keys()
        if self.new_epochs:
            return _NOTHING
        steps: list[Step] = []
        for sent in found.sent:
            reached = self._reached.get(sent.stream_epoch, NOTHING)
            further = _further(reached, sent.last_seq, position, sent.event_count)
            steps.append(self._step(sent.stream_epoch, further))
        self._move_on(max(self._position, position))
        return Taken(found, tuple(steps), live)

    def _move_on(self, position: int) -> None:
        self._position = position
        self.tail.reached(position)

    def _step(self, epoch: int, reached: Cursor) -> Step:
        step = Step(self._reached.get(epoch, NOTHING), reached)
        self._reached[epoch] = reached
        return step

    async def _turn_replay_page(self, pages: Pages, stream_id: UUID) -> None:
        leg = self._legs[0]
        if leg.late:
            events, more = await pages.late(self.tail.ref, stream_id, leg, horizon=self._horizon)
        else:
            events = await pages.of_epoch(
                self.tail.ref,
                stream_id,
                epoch=leg.epoch,
                after_seq=leg.after_seq,
                stored_up_to=max(self._horizon, self._head(stream_id)),
            )
            more = bool(events) and events[-1].seq < leg.up_to_seq
        if more:
            self._legs[0] = leg._replace(after_seq=events[-1].seq)
        else:
            self._legs.popleft()
        goes_on = self._page_leg is not None and (self._page_leg.epoch, self._page_leg.late) == (
            leg.epoch,
            leg.late,
        )
        self._begin_leg(leg)
        self._page = [event for event in events if event.position <= self._horizon]
        self._page_leg, self._page_ends_leg = leg, not more
        if not (events or more):
            self._reached[leg.epoch] = leg.end
            if leg.late and not goes_on:  # nothing of the epoch was sent before, so no ack will say it
                self.proven[leg.epoch] = leg.end

    def _begin_leg(self, leg: Leg) -> None:
        """What the leg begins with is so once all before it is acked, also where nothing came late."""
        if leg.begin.covers(self._reached[leg.epoch]):
            self._reached[leg.epoch] = leg.begin

    async def _turn_live_page(self, pages: Pages, stream_id: UUID) -> None:
        head = self.tail.head
        events = await pages.after_position(
            self.tail.ref, stream_id, position=self._position, stored_up_to=head
        )
        self._page, self._page_leg = events, None
        # Nothing there although the head is ahead: an administrator has deleted it.
        self._move_on(events[-1].position if events else head)

    def _head(self, stream_id: UUID) -> int:
        """Return what of the stream is known to be stored: the more a page is asked for, the more it can serve."""
        return self.tail.head if self.tail.stream_id == stream_id else 0


def _further(reached: Cursor, last_seq: int, position: int, events: int) -> Cursor:
    """Return what a receiver has with `events` more, the highest of them last_seq, the latest stored at position."""
    count = None if reached.event_count is None else reached.event_count + events
    return Cursor(max(reached.last_seq, last_seq), max(reached.position, position), count)
