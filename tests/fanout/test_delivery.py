"""Where a receiver starts, and what an ack covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.delivery import NOTHING, Cursor, EpochState, Leg, Start, start_from
from fanout.events import Sent
from fanout.in_flight import InFlight, Step
from fanout.plans.plan import Everything
from fanout.store.starting_points import StartingPoint
from shared.protocol.v1 import StreamRef

HORIZON = 100


def epoch(
    last_seq: int,
    *,
    cursor: Cursor = NOTHING,
    resume: int | None = None,
    count: int | None = -1,
) -> EpochState:
    """An epoch without gaps, unless `count` says how many there are (None: nobody knows)."""
    return EpochState(
        last_seq,
        last_seq if count == -1 else count,
        cursor,
        last_seq - cursor.last_seq,
        resume,
        last_seq - resume if resume is not None else 0,
    )


def start_of(horizon: int, epochs: dict[int, EpochState]) -> Start:
    """Start as the first generation does."""
    begins = Everything().begin(StartingPoint(horizon, max(epochs, default=1), epochs, {}, {}), {})
    return start_from(horizon, epochs, begins)


def ranges(legs: list[Leg]) -> list[tuple[int, int, int, bool]]:
    return [(leg.epoch, leg.after_seq, leg.up_to_seq, leg.late) for leg in legs]


def test_a_receiver_without_cursors_starts_at_the_very_first_event() -> None:
    start = start_of(HORIZON, {2: epoch(9), 1: epoch(5)})
    assert ranges(start.legs) == [(1, 0, 5, False), (2, 0, 9, False)]
    assert start.cursors == {1: Cursor(0, HORIZON, 0), 2: Cursor(0, HORIZON, 0)}


def test_what_is_owed_counts_as_soon_as_the_rest_is_acked() -> None:
    leg = start_of(HORIZON, {1: epoch(9)}).legs[0]
    assert (leg.begin, leg.end) == (Cursor(0, HORIZON, 0), Cursor(9, HORIZON, 9))


def test_it_starts_after_its_record_which_counts_prove_to_be_whole() -> None:
    start = start_of(HORIZON, {1: epoch(9, cursor=Cursor(5, 40, 5))})
    assert ranges(start.legs) == [(1, 5, 9, False)]


def test_what_was_stored_below_the_record_since_comes_first() -> None:
    start = start_of(HORIZON, {1: epoch(10, cursor=Cursor(10, 5, 5))})
    assert start.legs == [Leg(1, 0, 10, 5, True, Cursor(10, 5, 5), Cursor(10, HORIZON, 10))]
    assert start.cursors == {1: Cursor(10, 5, 5)}


def test_late_ones_come_before_the_rest_of_their_epoch_and_after_older_epochs() -> None:
    start = start_of(HORIZON, {1: epoch(4), 2: epoch(10, cursor=Cursor(8, 5, 3)), 3: epoch(2)})
    assert ranges(start.legs) == [(1, 0, 4, False), (2, 0, 8, True), (2, 8, 10, False), (3, 0, 2, False)]


@pytest.mark.parametrize("count", [None, -1])
def test_where_nobody_counted_it_is_looked_for_late_ones(count: int | None) -> None:
    start = start_of(HORIZON, {1: epoch(9, cursor=Cursor(9, 40, None), count=count)})
    assert ranges(start.legs) == [(1, 0, 9, True)]


def test_there_are_no_late_ones_where_nothing_was_stored_since() -> None:
    assert start_of(HORIZON, {1: epoch(9, cursor=Cursor(9, HORIZON, None))}).legs == []


def test_a_resume_below_the_record_counts_with_the_position_of_the_record() -> None:
    start = start_of(HORIZON, {1: epoch(9, cursor=Cursor(7, 40, 7), resume=4)})
    assert ranges(start.legs) == [(1, 4, 9, False)]
    assert start.cursors == {1: Cursor(4, HORIZON, 4)}
    late = start_of(HORIZON, {1: epoch(9, cursor=Cursor(7, 40, 6), resume=4)})
    assert ranges(late.legs) == [(1, 0, 4, True), (1, 4, 9, False)]
    assert start.resumed == late.resumed == {}


def test_what_lies_between_the_record_and_a_higher_resume_comes_again() -> None:
    start = start_of(HORIZON, {1: epoch(9, cursor=Cursor(4, 40, 4), resume=7)})
    assert ranges(start.legs) == [(1, 4, 7, True), (1, 7, 9, False)]
    assert start.resumed == {}
    received = start_of(HORIZON, {1: epoch(9, cursor=Cursor(4, HORIZON, 4), resume=9)})
    assert (received.legs, received.resumed) == ([], {1: Cursor(9, HORIZON, 9)})


def test_without_a_record_the_resume_is_believed_up_to_the_horizon() -> None:
    start = start_of(HORIZON, {1: epoch(9, resume=5)})
    assert ranges(start.legs) == [(1, 5, 9, False)]
    assert start.cursors == start.resumed == {1: Cursor(5, HORIZON, 5)}


def test_what_is_older_than_a_resume_is_done() -> None:
    start = start_of(HORIZON, {1: epoch(9), 2: epoch(4), 3: epoch(7, resume=2)})
    assert ranges(start.legs) == [(3, 2, 7, False)]
    assert start.resumed == {
        1: Cursor(9, HORIZON, 9, implied=True),
        2: Cursor(4, HORIZON, 4, implied=True),
        3: Cursor(2, HORIZON, 2),
    }


def test_our_record_of_an_older_epoch_beats_the_resume() -> None:
    start = start_of(HORIZON, {1: epoch(9, cursor=Cursor(6, 40, 6)), 2: epoch(4, resume=4)})
    assert ranges(start.legs) == [(1, 6, 9, False)]


def test_what_is_newer_than_a_resume_is_replayed_whole() -> None:
    assert ranges(start_of(HORIZON, {1: epoch(9, resume=9), 2: epoch(4)}).legs) == [(2, 0, 4, False)]


def test_a_resume_from_the_future_is_ignored_with_what_it_says_of_older_epochs() -> None:
    start = start_of(HORIZON, {1: epoch(9), 2: epoch(4, resume=5)})
    assert ranges(start.legs) == [(1, 0, 9, False), (2, 0, 4, False)]


def test_a_resume_at_zero_starts_its_epoch_whole_and_older_ones_not_at_all() -> None:
    start = start_of(HORIZON, {1: epoch(9), 2: epoch(4, resume=0)})
    assert ranges(start.legs) == [(2, 0, 4, False)]


# --- acks ---


def ref(number: int) -> StreamRef:
    return StreamRef("f", f"10.0.0.{number}:10000")


class Sending:
    """A stream's messages in flight, each of one epoch, and the positions up to which they reach."""

    def __init__(self) -> None:
        self.waiting = InFlight()
        self.reached = NOTHING
        self.reached_by: list[Cursor] = []
        self.last_seqs: list[int] = []

    def send(self, last_seq: int, events: int = 1) -> None:
        before = self.reached
        position = before.position + events
        self.reached = Cursor(max(before.last_seq, last_seq), position, (before.event_count or 0) + events)
        self.waiting.add(ref(1), Sent(1, last_seq, events, last_seq, events), Step(before, self.reached))
        self.reached_by.append(self.reached)
        self.last_seqs.append(last_seq)

    def ack(self, last_seq: int) -> tuple[int, Cursor | None]:
        return self.waiting.ack(ref(1), 1, last_seq)


def test_an_ack_covers_all_messages_up_to_the_one_that_it_names() -> None:
    sending = Sending()
    for last_seq in (10, 20, 30):
        sending.send(last_seq, 10)
    assert sending.ack(20) == (20, Cursor(20, 20, 20))
    assert sending.ack(30) == (10, Cursor(30, 30, 30))
    assert sending.waiting.events == 0


def test_an_ack_of_a_higher_number_says_nothing_of_late_ones_that_were_sent_after_it() -> None:
    sending = Sending()
    sending.send(10, 5)
    sending.send(5, 5)
    assert sending.ack(10) == (5, Cursor(10, 5, 5))
    assert sending.ack(5) == (5, Cursor(10, 10, 10))


def test_who_acks_the_highest_it_ever_had_covers_late_ones_with_it() -> None:
    sending = Sending()
    sending.send(10, 5)
    sending.ack(10)
    sending.send(5, 5)
    assert sending.ack(10) == (5, Cursor(10, 10, 10))


def test_of_two_messages_with_the_same_highest_number_an_ack_covers_the_older() -> None:
    sending = Sending()
    for last_seq in (5, 9, 5):
        sending.send(last_seq)
    assert sending.ack(5) == (1, Cursor(5, 1, 1))
    assert sending.ack(5) == (2, Cursor(9, 3, 3))


def test_an_ack_within_a_message_counts_as_far_as_it_is_true() -> None:
    sending = Sending()
    sending.send(10, 10)
    sending.send(20, 10)
    assert sending.ack(15) == (10, Cursor(15, 10, None))
    assert sending.ack(12) == (0, Cursor(12, 10, None))
    assert sending.ack(20) == (10, Cursor(20, 20, 20))


def test_an_ack_of_what_was_never_sent_covers_nothing() -> None:
    sending = Sending()
    assert sending.ack(7) == (0, None)
    sending.send(10)
    assert sending.waiting.ack(ref(1), 2, 10) == (0, None)
    assert sending.waiting.ack(ref(2), 1, 10) == (0, None)


def test_what_the_pace_waits_for_no_longer_still_counts_as_sent() -> None:
    sending = Sending()
    for last_seq, events in ((60, 60), (100, 40), (200, 100)):
        sending.send(last_seq, events)
    sending.waiting.forget(100)
    assert sending.waiting.events == 100
    assert sending.ack(100) == (0, Cursor(100, 100, 100))
    sending.waiting.forget(1)
    assert sending.ack(200) == (0, Cursor(200, 200, 200))


def test_acks_of_what_was_sent_before_a_deletion_say_nothing_and_come_first() -> None:
    sending = Sending()
    sending.send(10, 10)
    sending.waiting.void(ref(1))
    sending.reached = NOTHING
    sending.send(10, 10)
    assert sending.ack(10) == (10, None)
    assert sending.ack(10) == (10, Cursor(10, 10, 10))


def test_a_receiver_that_never_acks_costs_a_bounded_amount_over_all_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(InFlight, "MOST_MESSAGES", 100)
    waiting = InFlight()
    for seq in range(1, 501):
        for stream in (1, 2):
            reached = Cursor(seq, seq, seq)
            waiting.add(
                ref(stream), Sent(1, seq, 1, seq, 1), Step(Cursor(seq - 1, seq - 1, seq - 1), reached)
            )
    assert sum(len(each) for each in waiting.sent.values()) == waiting.events == 100
    for stream in (1, 2):
        assert waiting.ack(ref(stream), 1, 500)[1] == Cursor(500, 500, 500)
    assert waiting.events == len(waiting.told_apart) == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(1, 9)),
            st.tuples(st.just("ack"), st.integers(1, 10)),
            st.tuples(st.just("forget"), st.integers(1, 4)),
        )
    )
)
def test_nothing_counts_as_acked_that_the_receiver_did_not_say_it_has(steps: list[tuple[str, int]]) -> None:
    """Whatever was sent in whatever order: all that a cursor claims was named by an ack, or stood before what was."""
    sending = Sending()
    named = 0  # messages that acks have covered, by the rule of protocol.md, section 5.4
    for step, number in steps:
        if step == "send":
            sending.send(number)
        elif step == "forget":
            sending.waiting.forget(number)
        else:
            named += _covered(sending.last_seqs[named:], number)
            cursor = sending.ack(number)[1]
            if cursor is not None and cursor.event_count is not None:
                assert cursor == sending.reached_by[named - 1]
    assert sending.waiting.events <= len(sending.last_seqs) - named


def _covered(unacked: list[int], number: int) -> int:
    if number in unacked:
        return unacked.index(number) + 1
    return next((n for n, last_seq in enumerate(unacked) if last_seq > number), len(unacked))
