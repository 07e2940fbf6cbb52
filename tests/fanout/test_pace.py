"""How fast a receiver is sent what there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.pace import WORTH_A_TIMER_S, Pace
from fanout.settings import FanoutSettings

NAMED = {"database_url": "postgresql://nowhere"}
USUAL = FanoutSettings.read(NAMED)


def settings(*, replay: int, live: int) -> FanoutSettings:
    given = {"replay_events_per_second": str(replay), "live_events_per_second": str(live)}
    return FanoutSettings.read({**NAMED, **given})


def pause_after(pace: Pace, events: int, *, live: bool) -> float:
    pace.sent(1_000.0, events, live=live)
    return round(pace.pause_s(1_000.0), 9)


def test_what_receivers_in_the_field_bear_is_the_usual_pace() -> None:
    """Measured with the unmodified receiver: at least 10 ms for each 100 events (protocol.md, section 5.5)."""
    assert (USUAL.batch_events, USUAL.max_in_flight, USUAL.pace_ms) == (100, 100, 500)
    assert pause_after(Pace(USUAL, None), 100, live=False) == 0.02
    assert pause_after(Pace(USUAL, None), 100, live=True) == 0.01


@pytest.mark.parametrize(
    ("events_per_second", "replay", "live"),
    [(None, 0.1, 0.05), (4_000, 0.025, 0.025), (0, 0.0, 0.0), (100, 1.0, 1.0)],
)
def test_a_receivers_own_pace_counts_for_both_ways(
    events_per_second: int | None, replay: float, live: float
) -> None:
    of_node = settings(replay=1_000, live=2_000)
    assert pause_after(Pace(of_node, events_per_second), 100, live=False) == replay
    assert pause_after(Pace(of_node, events_per_second), 100, live=True) == live


def test_each_way_can_be_without_a_pause() -> None:
    pace = Pace(settings(replay=0, live=1_000), None)
    assert pause_after(pace, 100, live=False) == 0.0
    assert pause_after(pace, 100, live=True) == 0.1


def test_one_read_alone_waits_for_nothing_and_many_add_up() -> None:
    pace = Pace(USUAL, None)
    assert pause_after(pace, 1, live=True) == 0.0
    for _ in range(10):
        pace.sent(1_000.0, 1, live=True)
    assert round(pace.pause_s(1_000.0), 9) == 0.0011
    assert pace.pause_s(1_000.0005) == 0.0


def test_time_that_has_passed_is_not_saved_up() -> None:
    pace = Pace(USUAL, None)
    pace.sent(0.0, 100, live=False)
    assert pace.pause_s(500.0) == 0.0
    pace.sent(500.0, 100, live=False)
    assert round(pace.pause_s(500.0), 9) == 0.02


@given(
    st.integers(1, 100_000),
    st.lists(st.tuples(st.integers(1, 100), st.floats(0, 0.05), st.booleans()), min_size=1, max_size=40),
)
def test_no_stretch_of_time_brings_more_than_the_pace_and_one_message(
    events_per_second: int, messages: list[tuple[int, float, bool]]
) -> None:
    """Whatever the receiver's acks and the database do in between."""
    pace = Pace(USUAL, events_per_second)
    now, sent = 0.0, []
    for events, late_s, live in messages:
        now += pace.pause_s(now) + late_s
        sent.append((now, events))
        pace.sent(now, events, live=live)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            passed_s = sent[last][0] - sent[first][0]
            before_the_last = sum(events for _, events in sent[first:last])
            assert before_the_last <= (passed_s + WORTH_A_TIMER_S) * events_per_second + 1e-3
