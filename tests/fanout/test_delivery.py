"""Where a receiver starts, and what it owes acks for."""

from hypothesis import given
from hypothesis import strategies as st

from fanout.delivery import InFlight, start_of
from fanout.events import Sent
from shared.messages import StreamRef

EPOCHS = st.dictionaries(st.integers(1, 6), st.integers(1, 20))
CURSORS = st.dictionaries(st.integers(1, 8), st.integers(0, 30))


def test_a_receiver_without_cursors_starts_at_the_very_first_event() -> None:
    assert start_of(epochs={2: 9, 1: 5}, stored={}, resume={}) == ([(1, 0, 5), (2, 0, 9)], {})


def test_it_starts_after_the_higher_of_its_own_cursor_and_ours() -> None:
    assert start_of(epochs={1: 9}, stored={1: 5}, resume={1: 3}) == ([(1, 5, 9)], {})
    assert start_of(epochs={1: 9}, stored={1: 3}, resume={1: 5}) == ([(1, 5, 9)], {1: 5})


def test_nothing_is_replayed_to_who_has_everything() -> None:
    assert start_of(epochs={1: 9}, stored={1: 9}, resume={}) == ([], {})


def test_what_is_older_than_a_resume_is_done_and_recorded_as_done() -> None:
    assert start_of(epochs={1: 9, 2: 4, 3: 7}, stored={}, resume={3: 2}) == ([(3, 2, 7)], {1: 9, 2: 4, 3: 2})


def test_our_record_of_an_older_epoch_beats_the_resume() -> None:
    assert start_of(epochs={1: 9, 2: 4}, stored={1: 6}, resume={2: 4}) == ([(1, 6, 9)], {2: 4})


def test_what_is_newer_than_a_resume_is_replayed_whole() -> None:
    assert start_of(epochs={1: 9, 2: 4}, stored={}, resume={1: 9}) == ([(2, 0, 4)], {1: 9})


def test_a_cursor_from_the_future_is_ignored_with_what_it_says_of_older_epochs() -> None:
    assert start_of(epochs={1: 9, 2: 4}, stored={}, resume={2: 5}) == ([(1, 0, 9), (2, 0, 4)], {})
    assert start_of(epochs={1: 9}, stored={1: 10}, resume={2: 0}) == ([(1, 0, 9)], {})


def test_a_resume_at_zero_starts_its_epoch_whole_and_older_ones_not_at_all() -> None:
    assert start_of(epochs={1: 9, 2: 4}, stored={}, resume={2: 0}) == ([(2, 0, 4)], {1: 9})


@given(EPOCHS, CURSORS, CURSORS)
def test_each_epoch_is_replayed_from_its_cursor_unless_a_later_resume_covers_it(
    epochs: dict[int, int], stored: dict[int, int], resume: dict[int, int]
) -> None:
    start = start_of(epochs=epochs, stored=stored, resume=resume)
    assert [epoch for epoch, _, _ in start.replay] == sorted({epoch for epoch, _, _ in start.replay})
    assert start.done.items() <= {e: max(start.done.get(e, 0), 0) for e in epochs}.items()
    replayed = {epoch: (after, newest) for epoch, after, newest in start.replay}
    for epoch, newest in epochs.items():
        cursors = [cursors[epoch] for cursors in (stored, resume) if cursors.get(epoch, newest + 1) <= newest]
        covered = any(epoch < other and seq <= epochs.get(other, -1) for other, seq in resume.items())
        expected = max(cursors, default=newest if covered else 0)
        assert replayed.get(epoch, (newest, newest)) == (expected, newest)
        if expected > (stored[epoch] if stored.get(epoch, newest + 1) <= newest else 0):
            assert start.done[epoch] == expected


def ref(number: int) -> StreamRef:
    return StreamRef("f", f"10.0.0.{number}:10000")


def in_flight(*sent: tuple[int, int, int, int]) -> InFlight:
    """Return what is in flight after (stream, epoch, last_seq, events) were sent."""
    waiting = InFlight()
    for stream, *rest in sent:
        waiting.add(ref(stream), Sent(*rest))
    return waiting


def test_an_ack_covers_what_its_epoch_of_its_stream_has_up_to_it() -> None:
    waiting = in_flight((1, 1, 10, 10), (1, 2, 5, 5), (2, 1, 7, 7), (1, 1, 20, 10))
    assert waiting.ack(ref(1), 1, 19) == 10
    assert waiting.ack(ref(1), 1, 20) == 10
    assert waiting.events == 12


def test_a_part_of_what_was_sent_is_not_covered() -> None:
    waiting = in_flight((1, 1, 10, 10))
    assert (waiting.ack(ref(1), 1, 9), waiting.events) == (0, 10)


def test_the_oldest_is_forgotten_first_and_whole() -> None:
    waiting = in_flight((1, 1, 60, 60), (1, 1, 100, 40), (1, 1, 200, 100))
    waiting.forget(100)
    assert waiting.events == 100
    assert waiting.ack(ref(1), 1, 100) == 0
    waiting.forget(1)
    assert waiting.events == 0


SENT = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 9), st.integers(1, 5))
ACKS = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(0, 9))


@given(st.lists(st.one_of(SENT, ACKS, st.integers(1, 12))))
def test_what_is_in_flight_is_what_was_sent_and_neither_acked_nor_forgotten(
    steps: list[tuple[int, ...] | int],
) -> None:
    waiting = InFlight()
    model: list[tuple[int, ...]] = []
    for step in steps:
        if isinstance(step, int):
            waiting.forget(step)
            gone = 0
            while model and gone < step:
                gone += model.pop(0)[3]
        elif len(step) == 4:
            waiting.add(ref(step[0]), Sent(*step[1:]))
            model.append(step)
        else:
            stream, epoch, last_seq = step
            waiting.ack(ref(stream), epoch, last_seq)
            model = [each for each in model if each[:2] != (stream, epoch) or each[2] > last_seq]
        assert waiting.events == sum(each[3] for each in model)
