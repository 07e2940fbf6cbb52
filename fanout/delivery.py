"""Decisions of delivery, without sockets or database: what a receiver has, and what it is owed (what an ack covers:
fanout/in_flight.py; what it wants: fanout/plans/).

A cursor (last_seq, position) of an epoch says: every event numbered up to last_seq that was stored at or below position
has been delivered and acked. It says nothing of a lower number that is stored later, and so cannot hide it.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["NOTHING", "Cursor", "EpochState", "Leg", "Start", "begin_of", "is_valid", "start_from", "unacked"]


class Cursor(NamedTuple):
    """What a receiver has of an epoch: Cursor(500, 7000, 499) are the 499 events numbered up to 500 that were stored at
    or below position 7000; the one that is missing never came, or was stored later.

    event_count: how many events that is, None where nobody counted. implied: that it has them was only concluded, from
    a resume of a newer epoch; it stays so until all of them were sent.
    """

    last_seq: int
    position: int
    event_count: int | None
    implied: bool = False

    def covers(self, other: "Cursor") -> bool:
        """Whether neither number falls from `other` to this one: then this one may take its place."""
        return self.last_seq >= other.last_seq and self.position >= other.position


NOTHING = Cursor(0, 0, 0)


class EpochState(NamedTuple):
    """An epoch as one snapshot has it, with our record of the receiver's acks and its own resume.

    last_seq: the newest. event_count: how many there are; None where more gaps than the list holds keep us from
    telling how many lie above a number. cursor: our record, NOTHING before the first ack. above_cursor, above_resume:
    events numbered above either. EpochState(900, 898, Cursor(500, 7000, 499), 399): 399 of 898 events are above 500.
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

    @property
    def horizon(self) -> int:
        """The stream's newest position when it was decided: what is stored later is not replayed but live."""
        return self.end.position


class Start(NamedTuple):
    """What to replay, in order, and what the receiver has of each epoch before that.

    resumed: epochs of which it has more than our record says, which is to be recorded.
    """

    legs: list[Leg]
    cursors: dict[int, Cursor]
    resumed: dict[int, Cursor]


def start_from(horizon: int, epochs: Mapping[int, EpochState], begins: Mapping[int, Cursor]) -> Start:
    """Say how a receiver gets what it has not of these epochs, in a stream whose newest position is `horizon`.

    begins: what it has of each epoch that it wants, as its plan has decided (fanout/plans/).
    """
    start = Start([], {}, {})
    for epoch, begin in sorted(begins.items()):
        state = epochs[epoch]
        legs = _legs(horizon, epoch, state, begin)
        start.legs.extend(legs)
        # Where nothing is late it has all of that up to the horizon.
        any_late = bool(legs) and legs[0].late
        start.cursors[epoch] = begin if any_late else _caught_up(horizon, state, begin)
        if begin.last_seq > state.cursor.last_seq and not any_late:
            start.resumed[epoch] = start.cursors[epoch]
    return start


def is_valid(state: EpochState) -> bool:
    """Whether a resume can be true. One beyond what is stored (the server was wiped, or restored from a backup) is
    ignored, or the receiver would wait for ever.
    """
    return state.resume is not None and state.resume <= state.last_seq


def begin_of(horizon: int, state: EpochState, resume: int | None) -> Cursor:
    """Return what the receiver has of an epoch: what its resume says, also where that is lower than our record, for it
    is the one that knows what it has. What it cannot know, up to which position, comes from our record. Without a
    resume it has what our record says, without either nothing.
    """
    record = state.cursor
    if resume is None:
        return record
    if resume == record.last_seq:
        return record._replace(implied=False)
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
        done = Cursor(state.last_seq, horizon, state.event_count, begin.implied)
        legs.append(Leg(epoch, begin.last_seq, state.last_seq, 0, False, caught_up, done))
    return legs


def _caught_up(horizon: int, state: EpochState, begin: Cursor) -> Cursor:
    """Return what the receiver has when it has the late ones."""
    if not begin.last_seq:
        return Cursor(0, horizon, 0)
    if begin.last_seq == state.last_seq:
        above = 0
    else:
        above = state.above_cursor if begin.last_seq == state.cursor.last_seq else state.above_resume
    return Cursor(begin.last_seq, horizon, _less(state.event_count, above), begin.implied)


def _nothing_late(state: EpochState) -> bool:
    """Whether counts alone prove that nothing below our record was stored after it."""
    return (
        state.event_count is not None and state.event_count - state.above_cursor == state.cursor.event_count
    )


def _less(count: int | None, above: int) -> int | None:
    return None if count is None else count - above
