"""Decisions of delivery, without sockets or database: what a receiver has, what it is owed, what an ack covers.

A cursor (last_seq, position) of an epoch says: every event numbered up to last_seq that was stored at or below position
has been delivered and acked. It says nothing of a lower number that is stored later, and so cannot hide it.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import NamedTuple

from fanout.events import Sent
from shared.protocol.v1 import StreamRef

__all__ = [
    "NOTHING",
    "Acked",
    "Cursor",
    "EpochState",
    "InFlight",
    "Leg",
    "Start",
    "Step",
    "start_of",
    "unacked",
]


class Cursor(NamedTuple):
    """What a receiver has of an epoch; event_count: how many events that is, None where nobody counted."""

    last_seq: int
    position: int
    event_count: int | None

    def covers(self, other: "Cursor") -> bool:
        """Whether neither number falls from `other` to this one: then this one may take its place."""
        return self.last_seq >= other.last_seq and self.position >= other.position


NOTHING = Cursor(0, 0, 0)


class EpochState(NamedTuple):
    """An epoch as one snapshot has it, with our record of the receiver's acks and its own resume.

    last_seq: the newest. event_count: how many there are; None where more gaps than the list holds keep us from
    telling how many lie above a number. cursor: our record, NOTHING before the first ack. above_cursor, above_resume:
    events numbered above either.
    """

    last_seq: int
    event_count: int | None
    cursor: Cursor
    above_cursor: int
    resume: int | None = None
    above_resume: int = 0


def unacked(epochs: Mapping[int, EpochState]) -> dict[int, EpochState]:
    """Return epochs as they are for who begins with the very first event, whatever has been acked of them."""
    return {
        epoch: state._replace(cursor=NOTHING, above_cursor=state.event_count or 0)
        for epoch, state in epochs.items()
    }


class Leg(NamedTuple):
    """A part of a replay: events of one epoch, by seq, in (after_seq, up_to_seq] at positions above above_position.

    late: they were stored below the cursor, and nothing of that counts before all of it is acked. begin, end: what the
    receiver has before the leg, and once all of it is acked.
    """

    epoch: int
    after_seq: int
    up_to_seq: int
    above_position: int
    late: bool
    begin: Cursor
    end: Cursor


class Start(NamedTuple):
    """What to replay, in order, and what the receiver has of each epoch before that.

    resumed: epochs of which it has more than our record says, which is to be recorded.
    """

    legs: list[Leg]
    cursors: dict[int, Cursor]
    resumed: dict[int, Cursor]


def start_of(horizon: int, epochs: Mapping[int, EpochState]) -> Start:
    """Decide where a receiver starts in a stream whose newest position is `horizon` (protocol.md, section 5.2).

    Per epoch it starts where its resume says, also where that is lower than our record: it is the one that knows what
    it has. What it cannot know, up to which position, comes from our record. Without a resume it starts from our
    record, without either from the very first event. A resume beyond what is stored (the server was wiped, or restored
    from a backup) is ignored, or the receiver would wait for ever. A resume says that everything older is done, unless
    our record of an older epoch says otherwise.
    """
    resumed = {e: state.resume for e, state in epochs.items() if _is_valid(state)}
    resumed_at = max(resumed, default=0)
    start = Start([], {}, {})
    for epoch, state in sorted(epochs.items()):
        resume = resumed.get(epoch)
        if resume is None and not state.cursor.last_seq and epoch < resumed_at:
            begin = Cursor(state.last_seq, horizon, state.event_count)
        else:
            begin = _begin(horizon, state, resume)
        legs = _legs(horizon, epoch, state, begin)
        start.legs.extend(legs)
        # Where nothing is late it has all of that up to the horizon.
        any_late = bool(legs) and legs[0].late
        start.cursors[epoch] = begin if any_late else _caught_up(horizon, state, begin)
        if begin.last_seq > state.cursor.last_seq and not any_late:
            start.resumed[epoch] = start.cursors[epoch]
    return start


def _is_valid(state: EpochState) -> bool:
    return state.resume is not None and state.resume <= state.last_seq


def _begin(horizon: int, state: EpochState, resume: int | None) -> Cursor:
    """Return what the receiver has of an epoch."""
    record = state.cursor
    if resume is None or resume == record.last_seq:
        return record
    if not record.last_seq:  # without a record the resume is believed
        return Cursor(resume, horizon, _less(state.event_count, state.above_resume))
    return Cursor(resume, record.position, None)


def _legs(horizon: int, epoch: int, state: EpochState, begin: Cursor) -> list[Leg]:
    """Return the late ones, then the rest; neither where there is nothing."""
    caught_up = _caught_up(horizon, state, begin)
    legs: list[Leg] = []
    after = min(state.cursor.last_seq, begin.last_seq) if _nothing_late(state) else 0
    if after < begin.last_seq and begin.position < horizon:
        legs.append(Leg(epoch, after, begin.last_seq, begin.position, True, begin, caught_up))
    if begin.last_seq < state.last_seq:
        done = Cursor(state.last_seq, horizon, state.event_count)
        legs.append(Leg(epoch, begin.last_seq, state.last_seq, 0, False, caught_up, done))
    return legs


def _caught_up(horizon: int, state: EpochState, begin: Cursor) -> Cursor:
    """Return what the receiver has when it has the late ones."""
    if begin.last_seq == state.last_seq:
        above = 0
    else:
        above = state.above_cursor if begin.last_seq == state.cursor.last_seq else state.above_resume
    return Cursor(begin.last_seq, horizon, _less(state.event_count, above))


def _nothing_late(state: EpochState) -> bool:
    """Whether counts alone prove that nothing below our record was stored after it."""
    return (
        state.event_count is not None and state.event_count - state.above_cursor == state.cursor.event_count
    )


def _less(count: int | None, above: int) -> int | None:
    return None if count is None else count - above


class Acked(NamedTuple):
    """What an ack covered: so many events that were waited for, and what the receiver has now, if that is news."""

    events: int
    cursor: Cursor | None


class Step(NamedTuple):
    """What a receiver has of an epoch before a message, and once that is acked."""

    before: Cursor
    after: Cursor

    def partly(self, last_seq: int) -> Cursor | None:
        """Return what it has by an ack of a number within the message: no device in the field gives one.

        What is numbered up to that and was stored up to where the receiver was before is there, or was sent now.
        """
        if not self.before.last_seq < last_seq < self.after.last_seq:
            return None
        return Cursor(last_seq, self.before.position, None)


class _Message(NamedTuple):
    number: int  # in the order of sending, over all streams
    last_seq: int  # the highest: what an ack of just this message names
    step: Step | None  # None: its cursor was deleted meanwhile


class InFlight:
    """What was sent and not acked. What the pace waits for no longer still counts as sent."""

    # Messages that are told apart. A receiver that never acks is owed nothing by this: the oldest is dropped, and so
    # becomes one with the next of its stream and epoch, which is covered by what covers that.
    MOST_MESSAGES = 10_000

    def __init__(self) -> None:
        self.events = 0  # that are waited for
        self._last = 0
        self._waiting: OrderedDict[int, int] = OrderedDict()  # events by number of their message
        self._keys: OrderedDict[int, tuple[StreamRef, int]] = (
            OrderedDict()
        )  # of all messages that are told apart
        self._sent: dict[tuple[StreamRef, int], _Messages] = {}  # by stream and epoch

    def add(self, ref: StreamRef, sent: Sent, step: Step) -> None:
        """Note that something was sent, and what the receiver has before it, and once it and all before are acked."""
        self._last += 1
        self._waiting[self._last] = sent.event_count
        self.events += sent.event_count
        key = ref, sent.stream_epoch
        self._keys[self._last] = key
        self._sent.setdefault(key, _Messages()).append(_Message(self._last, sent.last_seq, step))
        if len(self._keys) > self.MOST_MESSAGES:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, key = self._keys.popitem(last=False)
        of_epoch = self._sent[key]
        self.events -= self._waiting.pop(of_epoch.drop_oldest().number, 0)
        if not len(of_epoch):
            del self._sent[key]

    def ack(self, ref: StreamRef, epoch: int, last_seq: int) -> Acked:
        """Take out what an ack covers.

        In the order of sending within its stream and epoch: all up to the oldest message whose highest number it names;
        where none has just that number, the leading messages at or below it. So the ack of 10 says nothing of the late
        ones 1..5 that were sent after 6..10.
        """
        of_epoch = self._sent.get((ref, epoch))
        if of_epoch is None:
            return Acked(0, None)
        before = self.events
        cursor: Cursor | None = None
        for message in of_epoch.take(last_seq):
            cursor = message.step.after if message.step else None
            self.events -= self._waiting.pop(message.number, 0)
            del self._keys[message.number]
        cursor = of_epoch.partly(last_seq) or cursor
        if not len(of_epoch):
            del self._sent[ref, epoch]
        return Acked(before - self.events, cursor)

    def void(self, ref: StreamRef) -> None:
        """The stream's cursors were deleted: what was sent before will be acked, and must not count."""
        for (of, _), of_epoch in self._sent.items():
            if of == ref:
                of_epoch.void()

    def forget(self, events: int) -> None:
        """Wait no more for the oldest acks, of at least so many events."""
        until = self.events - events
        while self._waiting and self.events > until:
            self.events -= self._waiting.popitem(last=False)[1]


class _Messages:
    """Messages of one stream and epoch in the order of sending."""

    def __init__(self) -> None:
        self._messages: deque[_Message] = deque()
        self._named: Counter[int] = Counter()  # messages by their highest number

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: _Message) -> None:
        self._messages.append(message)
        self._named[message.last_seq] += 1

    def take(self, last_seq: int) -> list[_Message]:
        """Take out what an ack of `last_seq` covers; costs no more than what it takes out."""
        taken: list[_Message] = []
        if self._named[last_seq]:
            while not taken or taken[-1].last_seq != last_seq:
                taken.append(self.drop_oldest())
        else:
            while self._messages and self._messages[0].last_seq <= last_seq:
                taken.append(self.drop_oldest())
        return taken

    def partly(self, last_seq: int) -> Cursor | None:
        """Return what an ack says of the oldest message that it does not cover."""
        oldest = self._messages[0] if self._messages else None
        return oldest.step.partly(last_seq) if oldest and oldest.step else None

    def drop_oldest(self) -> _Message:
        message = self._messages.popleft()
        self._named[message.last_seq] -= 1
        if not self._named[message.last_seq]:
            del self._named[message.last_seq]
        return message

    def void(self) -> None:
        self._messages = deque(message._replace(step=None) for message in self._messages)
