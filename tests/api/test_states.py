"""The states: every row of the table of bounds at both its edges, what holds them, and what ends them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.alerts.coalesce import MANY
from api.alerts.conditions import Condition, Finding, Key, Level, Owner
from api.alerts.engine import AlertState, advance, judge
from api.alerts.rules import BOUNDS
from api.alerts.stream_facts import ClockFacts
from tests.api.facts import (
    Facts,
    FaultFacts,
    FlowFacts,
    ForwarderFacts,
    ProcessFacts,
    ReceiverFacts,
    StreamFacts,
    UpsFacts,
    find,
)
from tests.api.test_storage import storage

NOW = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)
STREAM = UUID(int=1)
PROCESS = UUID(int=2)
RANK = {"good": 0, "watch": 1, "act": 2}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stream(**facts: Any) -> Facts:
    """A stream that is well, but for what is given."""
    well = StreamFacts(
        stream_id=STREAM,
        title="Finish",
        owner=Owner("forwarder", "f", "Finish box"),
        stream_epoch=1,
        online=True,
        last_received_at=None,
        median_gap_s=0,
        reads=1000,
        missing_count=0,
        unparsed_count=0,
        open_conflicts=0,
        clock=ClockFacts(),
    )
    return Facts([], [well._replace(**facts)], [], [], [])


def forwarder(gone_s: float | None, *, has_reads: bool = True) -> Facts:
    gone_since = None if gone_s is None else at(-gone_s)
    return Facts([ForwarderFacts("f", "Finish", gone_since, has_reads)], [], [], [], [])


def flow(behind: int, oldest_s: float) -> Facts:
    return Facts([], [], [FlowFacts("tent", STREAM, "tent ← Finish", behind, at(-oldest_s))], [], [])


def receiver(gone_s: float) -> Facts:
    return Facts([], [], [], [ReceiverFacts("tent", at(-gone_s), 2)], [])


def process(
    seen_s: float = 0.0, *, lives: bool = True, ready: bool = True, problem: str | None = None
) -> Facts:
    facts = ProcessFacts(PROCESS, "writer on here", at(-seen_s), lives, ready, problem)
    return Facts([], [], [], [], [facts])


def level_of(facts: Facts) -> Level:
    """The worst level that is reached at the first look."""
    states = advance([], find(facts, []), NOW)
    return max((each.level for each in states), key=RANK.__getitem__, default="good")


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
        (stream(clock=ClockFacts(offset_ms=0, step_ms=200)), "good"),
        (stream(clock=ClockFacts(offset_ms=0, step_ms=201)), "act"),
        (stream(clock=ClockFacts(offset_ms=0, step_ms=-201)), "act"),
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


class Watch:
    """Looks at facts once a second and keeps what stands, as the evaluation does."""

    def __init__(self) -> None:
        self.states: list[AlertState] = []
        self.ended: list[AlertState] = []
        self.seconds = 0.0

    def look(self, facts: Facts, *, seconds: float = 1.0) -> Level:
        """Look at the same facts once a second; return the level at the last look."""
        for _ in range(int(seconds)):
            changed = advance(self.states, find(facts, self.states), at(self.seconds))
            self.seconds += 1
            self.ended += [each for each in changed if each.ended_at is not None]
            latest = {each.key: each for each in (*self.states, *changed)}
            self.states = [each for each in latest.values() if each.ended_at is None]
        return max((each.level for each in self.states), key=RANK.__getitem__, default="good")


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


def lapse(watch: Watch, facts: Facts, level: Level) -> int:
    """Return for how many seconds of looking at facts a level stays."""
    for seconds in range(1000):
        if watch.look(facts) != level:
            return seconds
    raise AssertionError("it stays for ever")


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
    nothing = Facts([], [], [], [], [])
    for facts in (forwarder(60), stream(missing_count=1), flow(500, 60), receiver(60), process(60)):
        watch = Watch()
        assert watch.look(facts) != "good"
        assert watch.look(nothing) == "good"
        assert len(watch.ended) == 1


def test_what_has_not_changed_is_not_written_again() -> None:
    states: Sequence[AlertState] = advance([], find(forwarder(60), []), NOW)
    for seconds in range(1, 100):
        assert advance(states, find(forwarder(60), states), at(seconds)) == []


def test_every_finding_says_who_what_and_what_to_do() -> None:
    every = Facts(
        [ForwarderFacts("f", "Finish", at(-60), True)],
        stream(
            missing_count=1,
            open_conflicts=1,
            unparsed_count=1,
            clock=ClockFacts(900),
            last_received_at=at(-60),
            reader_connected=False,
        ).streams,
        flow(500, 60).flows,
        receiver(60).receivers,
        process(60, ready=False).processes,
        [FaultFacts("f", "Finish", "malformed", "it is no JSON", at(-60))],
        storage(problem="the disk is full", storing=0),
        [UpsFacts("f", "Finish", available=True, plugged=False, percent=10)],
    )
    findings = list(find(every, []))
    assert {each.key.signal for each in findings} == set(BOUNDS)
    for finding in findings:
        assert finding.title
        assert finding.advice.endswith(".")
        assert finding.cleared
        assert all(condition.reason for condition in finding.conditions)


# --- whatever happens -----------------------------------------------------------------------------------------

KEY = Key("clock", "stream", str(STREAM), STREAM)


def finding(level: Level) -> Finding:
    return Finding(KEY, "Finish", [] if level == "good" else [Condition(level, 0, level)], "Do.", "cleared")


def lived(levels: Iterable[Level]) -> list[tuple[Level, Level]]:
    """Return what the conditions say and what is shown, second by second."""
    shown: list[tuple[Level, Level]] = []
    state: AlertState | None = None
    for second, level in enumerate(levels):
        state = judge(state, finding(level), at(second))
        if state is not None and state.ended_at is not None:
            state = None
        shown.append((level, "good" if state is None else state.level))
    return shown


LEVELS = st.lists(st.sampled_from(["good", "watch", "act"]), max_size=80)


@given(LEVELS)
def test_nothing_bad_is_ever_hidden(levels: list[Level]) -> None:
    assert all(RANK[shown] >= RANK[indicated] for indicated, shown in lived(levels))


@given(LEVELS)
def test_nothing_is_shown_that_was_not_so_within_its_time(levels: list[Level]) -> None:
    seen = lived(levels)
    hold = int(BOUNDS["clock"].leave_act_s)
    for second, (_, shown) in enumerate(seen):
        lately = [indicated for indicated, _ in seen[max(0, second - hold) : second + 1]]
        assert RANK[shown] <= max(RANK[indicated] for indicated in lately)


@given(LEVELS)
def test_a_level_is_left_only_after_its_time_without_it(levels: list[Level]) -> None:
    seen = lived(levels)
    hold = int(BOUNDS["clock"].leave_act_s)
    for second in range(1, len(seen)):
        if RANK[seen[second][1]] < RANK[seen[second - 1][1]]:
            left = RANK[seen[second - 1][1]]
            assert second >= hold
            assert all(RANK[indicated] < left for indicated, _ in seen[second - hold : second + 1])


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


# --- many streams of one forwarder ---------------------------------------------------------------------------


MOST = MANY["forwarder"]


def crowd(count: int, **facts: Any) -> Facts:
    """So many streams of one forwarder that are all alike."""
    ((one,),) = (stream(**facts).streams,)
    return Facts([], [one._replace(stream_id=UUID(int=1000 + n)) for n in range(count)], [], [], [])


def test_five_thousand_late_streams_of_one_forwarder_are_one_alert() -> None:
    watch = Watch()
    assert watch.look(crowd(5000, last_received_at=at(-50))) == "act"
    (state,) = watch.states
    assert state.key == Key("last_read", "forwarder", "f")
    assert (state.title, state.since) == ("Finish box", at(-50))
    assert state.reason == "5,000 or more streams, the first: no read for more than 45 s"


def test_each_signal_of_many_streams_is_one_alert_and_few_keep_their_own() -> None:
    watch = Watch()
    watch.look(crowd(MOST, missing_count=1, unparsed_count=20))
    assert sorted(each.key.signal for each in watch.states) == ["missing", "unparsed"]
    few = Watch()
    few.look(crowd(MOST - 1, missing_count=1))
    assert len(few.states) == MOST - 1


def test_streams_of_different_forwarders_are_not_taken_together() -> None:
    one = crowd(MOST - 1, missing_count=1)
    other = [
        each._replace(
            stream_id=UUID(int=each.stream_id.int + 500), owner=Owner("forwarder", "g", "Start box")
        )
        for each in one.streams
    ]
    watch = Watch()
    watch.look(one._replace(streams=[*one.streams, *other]))
    assert len(watch.states) == 2 * (MOST - 1)


def test_what_stands_for_many_has_the_age_of_the_first_of_them() -> None:
    watch = Watch()
    watch.look(crowd(MOST - 1, missing_count=1), seconds=50)
    assert watch.look(crowd(MOST, missing_count=1), seconds=10) == "watch"
    assert watch.look(crowd(MOST, missing_count=1)) == "act"
    assert [each.since for each in watch.states] == [NOW]


def test_a_count_that_wavers_around_the_bound_is_one_alert() -> None:
    watch = Watch()
    watch.look(crowd(MOST, missing_count=1), seconds=60)
    for count in (MOST - 1, MOST + 3, MOST // 2, MOST - 5):
        assert watch.look(crowd(count, missing_count=1)) == "act"
        assert [each.key.subject_kind for each in watch.states] == ["forwarder"]
    watch.look(crowd(MOST // 2 - 1, missing_count=1))
    assert sum(each.key.subject_kind == "stream" for each in watch.states) == MOST // 2 - 1


def test_what_stood_for_many_is_left_as_any_other() -> None:
    watch = Watch()
    watch.look(crowd(MOST, unparsed_count=100))
    assert lapse(watch, crowd(0), "act") == 10


def test_a_receiver_that_is_behind_in_many_streams_is_one_alert() -> None:
    (one,) = flow(1, 40).flows
    flows = [one._replace(stream_id=UUID(int=n), oldest_at=at(-40 - n)) for n in range(8)]
    watch = Watch()
    assert watch.look(Facts([], [], flows, [], [])) == "act"
    (state,) = watch.states
    assert state.key == Key("receiver_behind", "receiver", "tent")
    assert state.reason == "8 streams, the first: behind by more than 30 s"
    assert state.since == at(-47)
