"""What is amber and red, from when until when, and what is said of it."""

from collections.abc import Sequence

import pytest

from api.alerts.conditions import Finding, Level
from api.alerts.engine import AlertState, advance
from api.alerts.findings import Facts, find
from api.alerts.stream_facts import ClockFacts
from tests.api import rules
from tests.api.watching import NOW, Watch, at, flow, forwarder, lapse, level_of, process, receiver, stream


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        # forwarder session: gone 15 s | gone 45 s, in an epoch that has reads
        (forwarder(None), "good"),
        (forwarder(14.9), "good"),
        (forwarder(15), "watch"),
        (forwarder(44.9), "watch"),
        (forwarder(45), "act"),
        (forwarder(45, has_reads=False), "watch"),
        (forwarder(86400, has_reads=False), "watch"),
        # last read age: above 20 s and 3 x the recent median gap | above 45 s and 8 x
        (stream(last_received_at=None), "good"),
        (stream(last_received_at=at(-19.9)), "good"),
        (stream(last_received_at=at(-20)), "watch"),
        (stream(last_received_at=at(-44.9)), "watch"),
        (stream(last_received_at=at(-45)), "act"),
        (stream(last_received_at=at(-29.9), median_gap_s=10), "good"),
        (stream(last_received_at=at(-30), median_gap_s=10), "watch"),
        (stream(last_received_at=at(-79.9), median_gap_s=10), "watch"),
        (stream(last_received_at=at(-80), median_gap_s=10), "act"),
        (stream(last_received_at=at(-45), median_gap_s=1), "act"),
        (stream(last_received_at=at(-3600), online=False), "good"),
        # receiver behind: 5 s or 100 events | 30 s
        (flow(0, 3600), "good"),
        (flow(1, 4.9), "good"),
        (flow(1, 5), "watch"),
        (flow(1, 29.9), "watch"),
        (flow(1, 30), "act"),
        (flow(99, 0), "good"),
        (flow(100, 0), "watch"),
        (flow(1_000_000, 0), "watch"),
        # receiver gone with a subscription
        (receiver(4.9), "good"),
        (receiver(5), "watch"),
        (receiver(29.9), "watch"),
        (receiver(30), "act"),
        # missing sequence numbers: any
        (stream(missing_count=1), "watch"),
        # integrity conflict: any
        (stream(open_conflicts=1), "act"),
        # reader clock offset: 0.1 s | 0.5 s, or a step above 0.2 s
        (stream(clock=ClockFacts(offset_ms=99)), "good"),
        (stream(clock=ClockFacts(offset_ms=-99)), "good"),
        (stream(clock=ClockFacts(offset_ms=100)), "watch"),
        (stream(clock=ClockFacts(offset_ms=-100)), "watch"),
        (stream(clock=ClockFacts(offset_ms=499)), "watch"),
        (stream(clock=ClockFacts(offset_ms=500)), "act"),
        (stream(clock=ClockFacts(offset_ms=-500)), "act"),
        (stream(clock=ClockFacts(offset_ms=0, ahead_ms=0, was_ms=0)), "good"),
        (stream(clock=ClockFacts(offset_ms=0, ahead_ms=0, was_ms=201, stepped_at=NOW)), "act"),
        (stream(clock=ClockFacts(offset_ms=0, ahead_ms=0, was_ms=-201, stepped_at=NOW)), "act"),
        # what no live read has told, and what comes from nowhere
        (stream(clock=ClockFacts()), "good"),
        (stream(clock=ClockFacts(offset_ms=-19_000), online=False), "good"),
        (stream(clock=ClockFacts(offset_ms=-19_000)), "act"),
        # unparsed lines: any | above 1 %
        (stream(unparsed_count=1), "watch"),
        (stream(unparsed_count=10), "watch"),
        (stream(unparsed_count=11), "act"),
        # process: no heartbeat for 5 s | 15 s, or not ready
        (process(4.9), "good"),
        (process(5), "watch"),
        (process(14.9), "watch"),
        (process(15), "act"),
        (process(15, lives=False), "act"),
    ],
)
def test_a_bound_is_where_the_table_has_it(facts: Facts, level: Level) -> None:
    assert level_of(facts) == level


def test_missing_numbers_are_red_once_they_have_been_missing_for_a_minute() -> None:
    watch = Watch()
    assert watch.look(stream(missing_count=3), seconds=60) == "watch"
    assert watch.look(stream(missing_count=2)) == "act"
    assert watch.states[0].since == NOW


def test_gaps_that_fill_again_and_again_are_not_missing_for_a_minute() -> None:
    watch = Watch()
    for _ in range(10):
        assert watch.look(stream(missing_count=1), seconds=9) == "watch"
        assert watch.look(stream(), seconds=1) == "watch"


def test_a_process_that_is_not_ready_has_a_moment_to_become_so() -> None:
    watch = Watch()
    assert watch.look(process(ready=False), seconds=4) == "good"
    assert watch.look(process(ready=True)) == "good"
    assert watch.states == []
    assert all(each.level == "good" for each in watch.ended)
    assert watch.look(process(-100, ready=False), seconds=5) == "good"
    assert watch.look(process(-100, ready=False)) == "act"


def test_a_process_says_itself_what_is_wrong() -> None:
    watch = Watch()
    assert watch.look(process(-100, problem="1 stream cannot be written")) == "watch"
    assert watch.states[0].reason == "1 stream cannot be written"
    assert watch.look(process(-100, ready=False, problem="the disk is full"), seconds=6) == "act"
    assert watch.states[0].reason == "runs but is not ready: the disk is full"
    assert "Mend what it says" in watch.states[0].advice
    assert watch.look(process(-100), seconds=60) == "good"


@pytest.mark.parametrize(
    ("bad", "good", "level", "held_s"),
    [
        (forwarder(20), forwarder(None), "watch", 30),
        (forwarder(60), forwarder(None), "act", 90),
        (stream(last_received_at=at(-30)), stream(), "watch", 40),
        (stream(last_received_at=at(-60)), stream(), "act", 90),
        (flow(1, 10), flow(0, 0), "watch", 10),
        (flow(1, 60), flow(0, 0), "act", 60),
        (flow(100, 0), flow(99, -1000), "watch", 10),
        (stream(missing_count=1), stream(), "watch", 10),
        (stream(open_conflicts=1), stream(), "act", 0),
        (stream(clock=ClockFacts(offset_ms=100)), stream(clock=ClockFacts(offset_ms=99)), "watch", 10),
        (stream(clock=ClockFacts(offset_ms=500)), stream(), "act", 10),
        (stream(unparsed_count=1), stream(), "watch", 10),
        (process(10), process(-1000), "watch", 10),
        (process(60), process(-1000), "act", 30),
    ],
)
def test_a_state_is_left_after_twice_its_time_below_the_bound(
    bad: Facts, good: Facts, level: Level, held_s: float
) -> None:
    watch = Watch()
    assert watch.look(bad) == level
    assert lapse(watch, good, level) == held_s
    assert watch.states == []


def test_red_becomes_amber_while_it_is_amber() -> None:
    watch = Watch()
    assert watch.look(stream(clock=ClockFacts(offset_ms=600))) == "act"
    assert lapse(watch, stream(clock=ClockFacts(offset_ms=300)), "act") == 10
    assert watch.look(stream(clock=ClockFacts(offset_ms=300))) == "watch"
    assert lapse(watch, stream(clock=ClockFacts(offset_ms=0)), "watch") == 10


def test_what_comes_and_goes_stays_one_alert() -> None:
    watch = Watch()
    for _ in range(20):
        assert watch.look(stream(clock=ClockFacts(offset_ms=500))) == "act"
        assert watch.look(stream(), seconds=9) == "act"
    assert watch.ended == []
    assert watch.states[0].since == NOW


def test_the_reason_says_that_it_is_over_and_only_held() -> None:
    watch = Watch()
    watch.look(forwarder(60))
    assert watch.states[0].reason == "not connected, and its mat was in use"
    assert watch.states[0].since == at(-60)
    watch.look(forwarder(None))
    assert watch.states[0].reason == "connected again; shown until that has lasted 90 s"
    assert watch.states[0].since == at(-60)


def test_a_new_epoch_settles_what_was_of_the_old_one() -> None:
    watch = Watch()
    watch.look(stream(missing_count=1, unparsed_count=50, last_received_at=at(-60)))
    assert {each.key.signal for each in watch.states} == {"missing", "unparsed", "last_read"}
    assert watch.look(stream(stream_epoch=2)) == "good"
    assert watch.look(stream(stream_epoch=3, missing_count=1)) == "watch"
    assert watch.states[0].since == at(2)


def test_a_new_epoch_settles_no_conflict() -> None:
    watch = Watch()
    watch.look(stream(open_conflicts=1))
    assert watch.look(stream(open_conflicts=1, stream_epoch=2)) == "act"


def test_what_is_not_there_any_more_is_no_alert() -> None:
    nothing: Facts = {}
    for facts in (forwarder(60), stream(missing_count=1), flow(500, 60), receiver(60), process(60)):
        watch = Watch()
        assert watch.look(facts) != "good"
        assert watch.look(nothing) == "good"
        assert len(watch.ended) == 1


def test_what_has_not_changed_is_not_written_again() -> None:
    states: Sequence[AlertState] = advance([], find(forwarder(60), []), NOW)
    for seconds in range(1, 100):
        assert advance(states, find(forwarder(60), states), at(seconds)) == []


@pytest.mark.parametrize(
    "finding", [finding for _, finding in rules.every()], ids=[wrong for wrong, _ in rules.every()]
)
def test_every_finding_says_who_what_and_what_to_do(finding: Finding) -> None:
    assert finding.title
    assert finding.advice.endswith(".")
    assert finding.cleared
    assert all(condition.reason for condition in finding.conditions)


@pytest.mark.parametrize(
    ("gap_s", "said"),
    [(0, ""), (0.05, "usually several come every second"), (7, "usually one comes every 7 s")],
)
def test_a_silent_mat_is_told_with_what_is_usual_there(gap_s: float, said: str) -> None:
    (state,) = advance([], find(stream(last_received_at=at(-100), median_gap_s=gap_s), []), NOW)
    assert state.reason.removeprefix("no read for more than ").partition("; ")[2] == said


def test_a_mat_that_has_lost_its_forwarder_is_not_said_to_have_reads_again() -> None:
    states = advance([], find(stream(last_received_at=at(-100)), []), NOW)
    (state,) = advance(states, find(stream(last_received_at=at(-101), online=False), states), at(1))
    assert state.reason.startswith("its forwarder is gone")
