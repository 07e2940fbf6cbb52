"""What plans want of a stream, and the way through it where that is not all, or comes to be more."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout import window
from fanout.delivery import NOTHING, Cursor, EpochState
from fanout.events import Sent
from fanout.generation import FIRST
from fanout.in_flight import InFlight, Step
from fanout.plans.live import FromFloor
from fanout.plans.race import Mapped
from fanout.store.starting_points import StartingPoint
from fanout.subscription import Subscription
from shared.protocol.v1 import StreamRef
from tests.fanout.test_subscription import COMMIT, FOLLOW, REF, TAKE, Identity, Stream, committing, rest, take

HORIZON = 100
WHOLE = Cursor(5, HORIZON, 5)


@pytest.fixture(autouse=True)
def _short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_EVENTS", 5)


def point(
    *epochs: int,
    current: int = 3,
    acked: dict[int, Cursor] | None = None,
    resume: dict[int, int] | None = None,
) -> StartingPoint:
    """Return a stream with five events in each of some epochs."""
    states = {}
    for epoch in epochs:
        cursor, resumed = (acked or {}).get(epoch, NOTHING), (resume or {}).get(epoch)
        above = 5 - resumed if resumed is not None else 0
        states[epoch] = EpochState(5, 5, cursor, 5 - cursor.last_seq, resumed, above)
    return StartingPoint(HORIZON, current, states, {}, {})


def floor(earliest: int | None, at: StartingPoint, resume: dict[int, int] | None = None) -> int:
    """Return the lowest epoch that a plan wants once it has begun, and make sure that it begins with just those."""
    plan = FromFloor(earliest)
    begins = plan.begin(at, resume or {})
    found = next(epoch for epoch in range(12) if plan.wants(epoch))
    assert begins.keys() == {epoch for epoch in at.epochs if epoch >= found}
    return found


def test_without_an_ack_or_a_resume_the_floor_is_what_was_asked_for_or_the_current_epoch() -> None:
    at = point(1, 2, 3)
    assert [floor(earliest, at) for earliest in (None, 0, 1, 2, 3, 9)] == [3, 0, 1, 2, 3, 3]
    assert floor(None, point(current=1)) == 1


def test_the_floor_is_the_lowest_epoch_with_an_ack_or_a_valid_resume() -> None:
    assert floor(3, point(1, 2, 3, acked={2: WHOLE})) == 2
    assert floor(1, point(1, 2, 3, acked={2: WHOLE})) == 2
    for resume, expected in (({1: 5}, 1), ({1: 6}, 2), ({1: 0}, 1), ({4: 0}, 2), ({3: 1}, 2), ({0: 0}, 2)):
        at = point(1, 2, 3, acked={2: WHOLE}, resume=resume)
        assert floor(None, at, resume) == expected


def test_live_a_resume_says_nothing_of_older_epochs() -> None:
    at = point(1, 2, 3, resume={3: 4})
    assert FromFloor(1).begin(at, {3: 4}).keys() == {3}  # its floor
    at = point(1, 2, 3, resume={1: 2, 3: 4})
    begins = FromFloor(1).begin(at, {1: 2, 3: 4})
    assert begins == {1: Cursor(2, HORIZON, 2), 2: NOTHING, 3: Cursor(4, HORIZON, 4)}


def test_in_a_race_an_epoch_begins_behind_its_own_ack_or_resume_and_nothing_else() -> None:
    at = point(1, 2, 3, 4, acked={2: WHOLE}, resume={3: 4, 4: 6})
    assert Mapped([1, 2, 3, 4]).begin(at, {}) == {1: NOTHING, 2: WHOLE, 3: Cursor(4, HORIZON, 4), 4: NOTHING}


def test_in_a_race_what_was_only_implied_is_not_acked() -> None:
    implied = WHOLE._replace(implied=True)
    assert Mapped([1]).begin(point(1, acked={1: implied}), {}) == {1: NOTHING}
    assert Mapped([1]).begin(point(1, acked={1: implied}, resume={1: 3}), {}) == {1: Cursor(3, HORIZON, 3)}


def test_what_is_mapped_later_waits_for_its_beginning_and_what_is_unmapped_ends_at_once() -> None:
    plan = Mapped([1])
    plan.begin(point(1, 2), {})
    plan.map([1, 2])
    assert (set(plan.missing), plan.wants(1), plan.wants(2)) == ({2}, True, False)
    plan.begin(point(1, 2), {})
    assert (set(plan.missing), plan.wants(2)) == (set(), True)
    plan.map([2])
    assert (plan.wants(1), plan.wants(2), plan.is_empty) == (False, True, False)
    plan.map([])
    assert plan.is_empty


# --- the way through a stream ---


def begun(stream: Stream, *epochs: int) -> tuple[Subscription, Mapped]:
    plan = Mapped(epochs)
    subscription = Subscription(stream.tail, plan, FIRST, {})
    subscription.begin(stream.stream_id, stream.point())
    return subscription, plan


def begin_what_is_due(subscription: Subscription, stream: Stream) -> None:
    if subscription.awaits_start:
        subscription.begin(stream.stream_id, stream.point())


async def test_an_epoch_that_is_mapped_while_another_is_live_comes_once_and_then_goes_on() -> None:
    stream = Stream()
    stream.commit_next(1, 6)
    stream.commit_next(2, 2)
    stream.follow()
    subscription, plan = begun(stream, 2)
    assert await rest(subscription, stream) == [(2, 1), (2, 2)]
    stream.commit_next(1, 2)
    stream.follow()
    plan.map([1, 2])
    stream.commit_next(1, 1)  # which the tail has not read yet, and the look at what is stored has
    begin_what_is_due(subscription, stream)
    stream.commit_next(1, 1)
    stream.commit_next(2, 1)
    stream.follow()
    assert await rest(subscription, stream) == [*((1, seq) for seq in range(1, 10)), (1, 10), (2, 3)]


async def test_what_is_unmapped_while_it_is_replayed_ends_at_once_and_the_rest_goes_on() -> None:
    stream = Stream()
    stream.commit_next(1, 9)
    stream.commit_next(2, 2)
    stream.follow()
    subscription, plan = begun(stream, 1, 2)
    assert await take(subscription, stream, 2) == [(1, 1), (1, 2)]
    plan.map([2])
    subscription.drop()
    assert await rest(subscription, stream) == [(2, 1), (2, 2)]


async def test_what_is_not_wanted_is_passed_over_and_asks_for_a_row_that_says_so() -> None:
    stream = Stream()
    stream.commit_next(1, 1)
    stream.follow()
    subscription, _ = begun(stream, 1)
    assert await rest(subscription, stream) == [(1, 1)]
    stream.commit_next(2, 3)
    stream.follow()
    assert await rest(subscription, stream) == []
    assert not subscription.due
    assert 2 in subscription.cursor_ids
    assert subscription.flags() == {2: False}


MAP = st.tuples(st.just("map"), st.integers(1, 3), st.just(0))
STEPS = st.lists(st.one_of(COMMIT, FOLLOW, TAKE, MAP), max_size=40)


@given(st.lists(COMMIT, max_size=8), STEPS, st.lists(COMMIT, max_size=10))
def test_each_event_of_what_is_mapped_comes_once_in_order_whatever_happens_when(
    before: list[tuple[str, int, int]],
    steps: list[tuple[str, int, int]],
    between: list[tuple[str, int, int]],
) -> None:
    asyncio.run(_walk(before, steps, iter(between)))


async def _walk(
    before: list[tuple[str, int, int]],
    steps: list[tuple[str, int, int]],
    between: Iterator[tuple[str, int, int]],
) -> None:
    stream = Stream()
    for _, epoch, count in before:
        stream.commit_next(epoch, count)
    subscription, plan = begun(stream, 1)
    got: list[Identity] = []
    with committing(stream, between):
        for kind, number, count in steps:
            if kind == "commit":
                stream.commit_next(number, count)
            elif kind == "follow":
                stream.follow()
            elif kind == "map":
                plan.map([*plan.epochs, number])
            else:
                begin_what_is_due(subscription, stream)
                got += await take(subscription, stream, number)
    for _ in range(3):
        begin_what_is_due(subscription, stream)
        stream.follow()
        got += await rest(subscription, stream)
    assert sorted(got) == sorted(
        (each.stream_epoch, each.seq) for each in stream.stored if each.stream_epoch in plan.epochs
    )
    for epoch in plan.epochs:
        seqs = [seq for of, seq in got if of == epoch]
        assert seqs == sorted(seqs)


# --- what a generation is not sent ---

SHOWN, HIDDEN = Sent(1, 3, 3, 3, 3), Sent(1, 5, 2, 0, 0)
AFTER_SHOWN, AFTER_HIDDEN = Cursor(3, 3, 3), Cursor(5, 5, 5)


def test_an_ack_covers_what_was_not_sent_behind_it() -> None:
    waiting, ref = InFlight(), StreamRef("start", REF.reader_ip)
    assert waiting.add(ref, SHOWN, Step(NOTHING, AFTER_SHOWN)) is None
    assert waiting.add(ref, HIDDEN, Step(AFTER_SHOWN, AFTER_HIDDEN)) is None
    assert waiting.events == 3
    assert waiting.ack(ref, 1, 3) == (3, AFTER_HIDDEN)


def test_what_is_not_sent_waits_for_no_ack_where_nothing_else_does() -> None:
    waiting = InFlight()
    assert waiting.add(REF, HIDDEN, Step(NOTHING, AFTER_HIDDEN)) == AFTER_HIDDEN
    assert waiting.events == 0
    assert waiting.add(REF, HIDDEN, None) is None


def test_what_is_not_sent_makes_nothing_of_a_deleted_cursor_good() -> None:
    waiting = InFlight()
    waiting.add(REF, SHOWN, Step(NOTHING, AFTER_SHOWN))
    waiting.void(REF)
    assert waiting.add(REF, HIDDEN, Step(AFTER_SHOWN, AFTER_HIDDEN)) is None
    assert waiting.ack(REF, 1, 3) == (3, None)


def test_a_message_that_holds_both_is_acked_by_what_is_shown() -> None:
    waiting = InFlight()
    waiting.add(REF, Sent(1, 5, 5, 3, 2), Step(NOTHING, AFTER_HIDDEN))
    assert waiting.ack(REF, 1, 3) == (2, AFTER_HIDDEN)
