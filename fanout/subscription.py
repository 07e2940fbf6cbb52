"""One receiver's way through one stream: replay, then live.

    begin ─▶ replay, of what was stored up to the horizon: of each epoch first what came late, below the receiver's
             cursor but after it, then what lies above the cursor, each by seq
          ─▶ live, by position, of what was stored after it: from the tail, or from pages while behind the tail

Which epochs these are says the receiver's plan (fanout/plans/). The horizon is the stream's newest position in the very
snapshot that told what there is to replay. Every event has a position either up to it or beyond it, so none is left out
at the hand-over and none comes twice. Late events have positions beyond it once the receiver is live, and are live like
all others. An epoch that comes to be wanted later has a horizon of its own: what of it lies below that is replayed, and
passed over where the live way comes by.

What it holds is positions, what the receiver has of each epoch once all that was taken is acked, and at most the rest
of one page.
"""

from collections import deque
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from fanout.delivery import NOTHING, Cursor, Leg, start_from, unacked
from fanout.events import Event, Slice, fitting, slice_of
from fanout.generation import Generation
from fanout.in_flight import Step
from fanout.pages import Pages
from fanout.plans.plan import Plan
from fanout.store.starting_points import StartingPoint
from fanout.tail import Tail
from fanout.window import NOTHING_NEW

__all__ = ["NOTHING_TAKEN", "Subscription", "Taken"]


class Taken(NamedTuple):
    """Events for a message, and what the receiver has of each epoch among them (as in `slice.sent`) with them and
    without; None where it is not kept. live: whether they came from the tail.
    """

    slice: Slice
    steps: tuple[Step | None, ...] = ()
    live: bool = False


NOTHING_TAKEN = Taken(NOTHING_NEW)


class Subscription:
    """Where a receiver stands in a stream."""

    def __init__(self, tail: Tail, plan: Plan, generation: Generation, resume: dict[int, int]) -> None:
        self.tail = tail
        self.stream_id: UUID | None = None  # the stream that this has begun with
        self.resume = resume
        self.cursor_ids: dict[int, int] = {}  # rows that acks of each epoch move
        self.new_epochs: set[int] = set()  # that come next and have no row yet
        self.proven: dict[int, Cursor] = {}  # what it has without any ack, by epoch, until it is taken up
        self.plan = plan
        self._generation = generation
        self.window = tail.window(generation)
        self.restarts = False
        self._flags: dict[int, bool] = {}  # what the rows say of epochs: whether they are wanted
        self._reached: dict[int, Cursor] = {}  # what the receiver has once all that was taken is acked
        self.legs: deque[Leg] = deque()
        self._position = 0
        self._live_from: dict[
            int, int
        ] = {}  # positions, by epoch: of those up to it the replay has taken care
        self.page: list[Event] = []  # the rest of the page that is being sent
        self._page_leg: Leg | None = None  # the leg of the replay that it belongs to; None: it is live
        self._page_ends_leg = False

    @property
    def awaits_start(self) -> bool:
        """Whether the stream exists (anew), its cursors were deleted, or more of it is wanted, and `begin` is due."""
        if self.tail.stream_id is None:
            return False
        return self.restarts or self.tail.stream_id != self.stream_id or bool(self.plan.missing)

    @property
    def is_replaying(self) -> bool:
        """Whether there is anything left of what was stored when it began."""
        return bool(self.legs) or (self._page_leg is not None and bool(self.page))

    @property
    def needs_page(self) -> bool:
        """Whether what comes next does not come from the tail."""
        return bool(self.page or self.legs) or self._position < self.window.start

    def awaits_tail(self, position: int) -> bool:
        """Whether what is stored up to a position comes from the tail, and has not been taken."""
        return self._position < position and not self.needs_page

    @property
    def holds_page(self) -> bool:
        """Whether there is a rest of a page that will be sent."""
        return bool(self.page) and not self.restarts

    @property
    def due(self) -> bool:
        """Whether there is anything to begin or to take."""
        return self.awaits_start or self.needs_page or self._position < self.tail.head

    def restart(self) -> None:
        """Begin anew before anything else is taken: what the receiver had does not count any more, nor what it said
        when it came.
        """
        self.restarts = True
        self.resume = self.resume_of(None)

    def resume_of(self, stream_id: UUID | None) -> dict[int, int]:
        """Return what the receiver's resume says of a stream that this would begin with: nothing of another one than it
        has begun with.
        """
        return self.resume if self.stream_id in (None, stream_id) else {}

    def begin(self, stream_id: UUID, point: StartingPoint) -> bool:
        """Start with the stream as it stands, or with what has come to be wanted of it since. Return whether all of it
        begins anew: then acks of what was sent before say nothing.

        The resume is for the stream that the receiver knows: one that is made anew later starts without it, and so does
        one whose cursors were deleted meanwhile. What it says of an epoch counts once, when that begins, be it later.
        """
        # The tail may have moved on to another stream while the point was read: then `awaits_start` stays true, and
        # this begins once more.
        self.resume = self.resume_of(stream_id)
        if stream_id == self.stream_id and not self.restarts:
            self._begin_epochs(point, frozenset(self.plan.missing))
            return False
        if self.restarts:  # another session of the receiver may have acked by now what is to be sent again
            point = point._replace(epochs=unacked(point.epochs))
        self.stream_id = stream_id
        self.cursor_ids, self.proven = {}, {}
        self._reached, self._flags = {}, {}
        self.legs.clear()
        self._live_from = {}
        self.page, self._page_leg = [], None
        self.restarts = False
        self._move_on(point.last_position)
        self._begin_epochs(point, None)
        return True

    def _begin_epochs(self, point: StartingPoint, added: Collection[int] | None) -> None:
        """Replay what the plan wants of the epochs that were added (None: all)."""
        self.new_epochs = set()
        begins = self.plan.begin(point, self.resume)
        self.resume = {epoch: seq for epoch, seq in self.resume.items() if not self.plan.wants(epoch)}
        if added is not None:
            begins = {epoch: begin for epoch, begin in begins.items() if epoch in added}
            # Its replay goes up to this position. The live way, which is perhaps far behind it, comes by the same
            # events, and leaves them out.
            self._live_from |= dict.fromkeys(added, point.last_position)
        start = start_from(point.last_position, point.epochs, begins)
        self.cursor_ids |= {
            epoch: cursor_id
            for epoch, cursor_id in point.cursor_ids.items()
            if added is None or epoch in added or epoch not in self.cursor_ids
        }
        self._flags |= point.wanted
        self._reached |= start.cursors
        self.legs.extend(start.legs)
        self.proven |= start.resumed

    def drop(self) -> None:
        """Send nothing more of epochs that the plan wants no more."""
        # Its rows stay: what of it is on its way will be acked.
        self.legs = deque(leg for leg in self.legs if self.plan.wants(leg.epoch))
        if self._page_leg is not None and not self.plan.wants(self._page_leg.epoch):
            self.page, self._page_leg = [], None

    def flags(self) -> dict[int, bool]:
        """Return the epochs whose rows must say something else: whether they are wanted."""
        flags = {epoch: self.plan.wants(epoch) for epoch in self.cursor_ids}
        return {epoch: wanted for epoch, wanted in flags.items() if wanted != self._flags.get(epoch, True)}

    def note_flags(self, written: dict[int, bool]) -> None:
        """Take it that the rows say so now."""
        self._flags |= written

    def begin_epochs(self, cursor_ids: dict[int, int]) -> None:
        """Go on with epochs that have begun since."""
        self.cursor_ids.update(cursor_ids)
        self.new_epochs -= set(cursor_ids)

    async def take(self, pages: Pages, limit: int) -> Taken:
        """Return the next events, up to `limit`, and move on behind them; none when there are none, or when
        `new_epochs` come first.
        """
        self.new_epochs = set()  # an earlier call's may have got no rows, and may not come next any more
        while (stream_id := self.stream_id) is not None and not self.restarts:
            if self.page:
                taken = self._take_from_page(limit)
            elif self.legs:
                await self._turn_replay_page(pages, stream_id)
                continue
            # Made anew, the stream counts its positions from 1 again: ours mean nothing in its tail.
            elif self.tail.stream_id != stream_id:
                break
            # None where the window has moved on beyond us: the rest of the way there is read as pages, and looked at
            # again after each.
            elif (found := self.window.after(self._position, limit)) is None:
                await self._turn_live_page(pages, stream_id)
                continue
            elif not found[0].sent:
                break
            else:
                taken = self._live(*found, live=True)
            if taken.steps or self.new_epochs:
                return taken
        return NOTHING_TAKEN

    def _take_from_page(self, limit: int) -> Taken:
        # The rest waits here, its place in the session's only page with it, for the next message.
        count = fitting(self.page, limit)
        events = self.page[:count]
        if self._page_leg is None:
            taken = self._live(slice_of(events), events[-1].position, live=False)
        else:
            taken = self._replayed(self._page_leg, events)
        if not self.new_epochs:
            # Not while a row must be made first: the same events are taken once more then.
            del self.page[:count]
        return taken

    def _replayed(self, leg: Leg, events: list[Event]) -> Taken:
        """Say what the receiver has with the next events of a leg."""
        if self._page_ends_leg and len(events) == len(self.page):
            reached = leg.end
        elif leg.late:
            # A seq below the cursor tells nobody which of the late ones are there: they count together.
            reached = leg.begin
        else:
            reached = _further(self._reached[leg.epoch], events[-1].seq, leg.horizon, len(events))
        return Taken(slice_of(events), (self._step(leg.epoch, reached),))

    def _live(self, found: Slice, position: int, *, live: bool) -> Taken:
        """Say what the receiver has with events up to `position`; none where a new epoch's row must come first, or
        where none of them is wanted.
        """
        # The row before the first event of an epoch: its ack must find it. Nothing has been moved on yet.
        self.new_epochs = {sent.stream_epoch for sent in found.sent} - self.cursor_ids.keys()
        if self.new_epochs:
            return NOTHING_TAKEN
        if self._live_from or not all(self.plan.wants(sent.stream_epoch) for sent in found.sent):
            found = self._wanted_of(position, live=live)
        steps: list[Step] = []
        for sent in found.sent:
            reached = self._reached.get(sent.stream_epoch, NOTHING)
            further = _further(reached, sent.last_seq, position, sent.event_count)
            steps.append(self._step(sent.stream_epoch, further))
        self._move_on(max(self._position, position))
        return Taken(found, tuple(steps), live)

    def _wanted_of(self, position: int, *, live: bool) -> Slice:
        """Leave out what the plan does not want, and what the replay of an epoch that was added has taken care of."""
        events = self.window.between(self._position, position) if live else self.page
        wanted = [
            event
            for event in events
            if event.position <= position
            and self.plan.wants(event.stream_epoch)
            and event.position > self._live_from.get(event.stream_epoch, 0)
        ]
        # Behind it nothing of the replay can come: from here on slices need not be taken apart for it.
        self._live_from = {epoch: up_to for epoch, up_to in self._live_from.items() if up_to > position}
        return slice_of(wanted) if wanted else NOTHING_NEW

    def _move_on(self, position: int) -> None:
        self._position = position
        self.tail.reached(position)

    def _step(self, epoch: int, reached: Cursor) -> Step:
        step = Step(self._reached.get(epoch, NOTHING), reached)
        self._reached[epoch] = reached
        return step

    async def _turn_replay_page(self, pages: Pages, stream_id: UUID) -> None:
        # Not taken off yet: the plan may drop it while its page is read, which shows below.
        leg = self.legs[0]
        if leg.late:
            events, more = await pages.late(self.tail.ref, stream_id, self._generation, leg)
        else:
            events = await pages.of_epoch(
                self.tail.ref,
                stream_id,
                self._generation,
                epoch=leg.epoch,
                after_seq=leg.after_seq,
                stored_up_to=max(leg.horizon, self._head(stream_id)),
            )
            more = bool(events) and events[-1].seq < leg.up_to_seq
        if not self.legs or self.legs[0] != leg:  # dropped meanwhile
            return
        if more:
            self.legs[0] = leg._replace(after_seq=events[-1].seq)
        else:
            self.legs.popleft()
        # Before it is overwritten: whether an earlier page of the same leg has been sent.
        goes_on = self._page_leg is not None and (self._page_leg.epoch, self._page_leg.late) == (
            leg.epoch,
            leg.late,
        )
        self._begin_leg(leg)
        self.page = [event for event in events if event.position <= leg.horizon]
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
        # As it is before the question: where nothing is found we move on to here, and must not pass over what was
        # stored since.
        head = self.tail.head
        events = await pages.after_position(
            self.tail.ref, stream_id, self._generation, position=self._position, stored_up_to=head
        )
        self.page, self._page_leg = events, None
        # Nothing there although the head is ahead: an administrator has deleted it.
        self._move_on(events[-1].position if events else head)

    def _head(self, stream_id: UUID) -> int:
        """Return what of the stream is known to be stored: the more a page is asked for, the more it can serve."""
        return self.tail.head if self.tail.stream_id == stream_id else 0


def _further(reached: Cursor, last_seq: int, position: int, events: int) -> Cursor:
    """Return what a receiver has with `events` more, the highest of them last_seq, the latest stored at position."""
    count = None if reached.event_count is None else reached.event_count + events
    return Cursor(max(reached.last_seq, last_seq), max(reached.position, position), count, reached.implied)
