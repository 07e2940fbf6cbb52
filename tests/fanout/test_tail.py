"""The window that all receivers of a stream share."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout import window as tails
from fanout.generation import FIRST
from fanout.store.events import EventRow
from fanout.tail import Tail
from shared.protocol.v1 import StreamRef

REF = StreamRef("start", "10.0.0.1:10000")
STREAM = UUID(int=1)
RECEIVED_AT = datetime(2026, 2, 22, 9, 11, 13, tzinfo=UTC)


def events(first: int, last: int, *, line: bytes = b"aa") -> list[EventRow]:
    return [EventRow(n, 1, n, "", line, "raw", RECEIVED_AT, False) for n in range(first, last + 1)]


def following(head: int = 0) -> Tail:
    tail = Tail(REF)
    tail.begin(STREAM, head)
    tail.window(FIRST)
    return tail


def taken(tail: Tail, position: int, limit: int = 100) -> list[int] | None:
    found = tail.window(FIRST).after(position, limit)
    return None if found is None else [each["seq"] for each in orjson.loads(b"[" + found[0].json + b"]")]


class Follower:
    generation = FIRST

    def __init__(self) -> None:
        self.woken: list[StreamRef] = []

    def wake(self, ref: StreamRef) -> None:
        self.woken.append(ref)


def test_what_follows_a_position_comes_in_order_up_to_the_limit() -> None:
    tail = following(head=10)
    tail.extend(events(11, 20))
    assert taken(tail, 10, 4) == [11, 12, 13, 14]
    assert taken(tail, 17) == [18, 19, 20]
    assert taken(tail, 20) == []


def test_a_position_before_the_window_has_to_be_read_elsewhere() -> None:
    tail = following(head=10)
    tail.extend(events(11, 20))
    assert taken(tail, 9) is None


def test_a_position_beyond_the_head_waits() -> None:
    tail = following(head=10)
    tail.extend(events(11, 12))
    assert taken(tail, 15) == []


def test_a_gap_that_an_administrator_left_is_stepped_over() -> None:
    tail = following()
    tail.extend([*events(1, 3), *events(8, 9)])
    assert taken(tail, 3) == taken(tail, 5) == [8, 9]


def test_the_window_keeps_the_newest_events() -> None:
    tail = following()
    for first in range(1, 10_001, 500):
        tail.extend(events(first, first + 499))
    assert (tail.window(FIRST).start, tail.head) == (10_000 - tails.WINDOW_EVENTS, 10_000)
    assert taken(tail, tail.window(FIRST).start, 1) == [tail.window(FIRST).start + 1]
    assert taken(tail, tail.window(FIRST).start - 1) is None


def test_long_lines_make_the_window_shorter() -> None:
    tail = following()
    tail.extend(events(1, 100, line=b"x" * 65536))
    assert (
        sum(len(event.json) for event in tail.window(FIRST).between(0, tail.head))
        == tail.window_bytes
        <= tails.WINDOW_BYTES
    )
    assert taken(tail, tail.window(FIRST).start, 1) == [tail.window(FIRST).start + 1]


def test_a_line_that_is_longer_than_the_window_leaves_it_empty_and_the_head_right() -> None:
    tail = following()
    tail.extend(events(1, 1, line=b"x" * (tails.WINDOW_BYTES + 1)))
    assert (tail.window(FIRST).start, tail.head, tail.window_bytes) == (1, 1, 0)
    assert taken(tail, 0) is None


def test_it_is_ahead_until_somebody_has_taken_half_of_the_window_and_then_says_so_once() -> None:
    tail = following(head=10)
    said: list[tuple[bool, int]] = []
    tail.on_taken = lambda: said.append((tail.is_ahead, tail.foremost))
    tail.extend(events(11, 1_009))
    assert not tail.is_ahead  # not half full
    tail.extend(events(1_010, 1_510))
    tail.pass_over()
    for position in (759, 760, 761):
        tail.reached(position)
    assert said == [(False, 760)]


def test_who_is_past_the_head_of_a_tail_that_was_passed_over_sets_it_going() -> None:
    tail = following()
    said: list[bool] = []
    tail.on_taken = lambda: said.append(tail.is_ahead)
    tail.extend(events(1, 2_000))
    tail.pass_over()
    tail.reached(2_345)  # it replayed what was stored since
    assert said == [False]


def test_long_lines_make_it_ahead_sooner() -> None:
    tail = following()
    tail.extend(events(1, 10, line=b"x" * (tails.WINDOW_BYTES // 20)))
    assert tail.is_ahead


def test_a_stream_that_is_made_anew_is_not_ahead() -> None:
    tail = following()
    tail.extend(events(1, 2_000))
    assert tail.is_ahead
    tail.begin(UUID(int=2), 0)
    assert not tail.is_ahead


def test_receivers_at_the_same_place_share_one_slice() -> None:
    tail = following()
    tail.extend(events(1, 50))
    first, second = tail.window(FIRST).after(10, 100), tail.window(FIRST).after(10, 100)
    assert first is not None
    assert first is second


def test_joined_slices_are_few_whoever_asks_for_what() -> None:
    tail = following()
    tail.extend(events(1, 1_000))
    for position in range(1_000):
        tail.window(FIRST).after(position, 100)
    assert len(tail.window(FIRST).slices) <= tails.KEPT_SLICES


def test_a_slice_never_outlives_the_window_that_it_was_cut_from() -> None:
    tail = following()
    tail.extend(events(1, 5))
    assert taken(tail, 0) == [1, 2, 3, 4, 5]
    tail.extend(events(6, 7))
    assert taken(tail, 0) == [1, 2, 3, 4, 5, 6, 7]
    tail.begin(uuid4(), 0)
    assert taken(tail, 0) == []
    tail.extend(events(1, 2))
    assert taken(tail, 0) == [1, 2]


def test_an_emptied_window_is_read_elsewhere_and_goes_on_from_its_head() -> None:
    tail = following()
    tail.extend(events(1, 5))
    assert taken(tail, 2) == [3, 4, 5]
    tail.empty()
    assert (tail.window(FIRST).start, tail.head, tail.window_bytes) == (5, 5, 0)
    assert taken(tail, 2) is None
    assert taken(tail, 5) == []
    tail.extend(events(6, 7))
    assert taken(tail, 5) == [6, 7]
    assert taken(tail, 4) is None


def test_followers_are_woken_by_every_move() -> None:
    tail = Tail(REF)
    follower = Follower()
    tail.followers.add(follower)
    tail.begin(STREAM, 0)
    tail.extend(events(1, 1))
    assert follower.woken == [REF, REF]


@given(
    st.integers(0, 5),
    st.lists(st.integers(1, 9), max_size=12),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))),
)
def test_whoever_walks_along_the_tail_misses_nothing_and_gets_nothing_twice(
    head: int, extensions: list[int], asked: list[tuple[int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "WINDOW_EVENTS", 7)
        tail = following(head)
        for count in extensions:
            tail.extend(events(tail.head + 1, tail.head + count))
        for position, limit in asked:
            expected = list(range(position + 1, tail.head + 1))[:limit]
            found = taken(tail, position, limit)
            assert found == (None if position < tail.window(FIRST).start else expected)
        assert tail.head - tail.window(FIRST).start <= 7
