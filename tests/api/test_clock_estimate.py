"""What is believed of a reader's clock, of whole mornings of reads: pure, with chance that is seeded."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from api.clocks.drift import Drift, Point, drift, reaches
from api.clocks.estimate import Clock, Mark, Told, Window, agreed_quarter, look, shows_twice, tell

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
NOON = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
LOOK_S = 10


class Read(NamedTuple):
    """A read: when it was made and received, and what of its reader's clock its line says, by its zone's wall clock."""

    made_at: datetime
    received_at: datetime
    ahead_ms: int


class Seen(NamedTuple):
    """What was believed at a look, and what was kept of it."""

    at: datetime
    clock: Clock
    marks: list[Mark]


def live(random: Random, *, a_second: float = 2) -> Iterator[tuple[float, float]]:
    """Yield reads as people make them, second by second: when, and how long they were on their way. A chip that stays
    is told again and again, later each time.
    """
    made_s = 0.0
    while True:
        made_s += random.expovariate(a_second)
        yield made_s, 0.02 + random.expovariate(20)
        if random.random() < 0.3:  # a follow-up, told late by the reader
            yield made_s, random.uniform(1, 8)


def race(
    clock_ms: Callable[[datetime], float],
    *,
    minutes: float,
    began_at: datetime = NOON,
    zone: ZoneInfo | None = None,
    held: Callable[[datetime], datetime | None] = lambda _: None,
    a_second: float = 2,
    seed: str = "morning",
) -> list[Seen]:
    """Have a reader read for so long, and look at it every ten seconds. clock_ms: how far ahead its clock is, by its
    zone's wall clock (UTC's without one), at a moment. held: until when what is read then lies in its forwarder.
    """
    reads: list[Read] = []
    for made_s, late_s in live(Random(seed), a_second=a_second):
        if made_s > minutes * 60:
            break
        made_at = began_at + timedelta(seconds=made_s)
        received_at = (held(made_at) or made_at) + timedelta(seconds=late_s)
        late_ms = (received_at - made_at) / timedelta(milliseconds=1)
        # What the line says, less the wall clock when it came, which summer time moves under what is on its way.
        moved_ms = utc_ms(zone, received_at) - utc_ms(zone, made_at)
        shown_ms = round((clock_ms(made_at) - late_ms - moved_ms) / 10) * 10
        reads.append(Read(made_at, received_at, shown_ms))
    reads.sort(key=lambda each: each.received_at)
    return [*looks(reads, began_at, zone)]


def looks(reads: list[Read], began_at: datetime, zone: ZoneInfo | None) -> Iterator[Seen]:
    clock, at, done = Clock(), began_at, 0
    while done < len(reads):
        at += timedelta(seconds=LOOK_S)
        new = [each for each in reads[done:] if each.received_at <= at]
        done += len(new)
        new = new[-100:]
        if not new:
            continue
        told = tell(
            [each.ahead_ms for each in new],
            new[0].received_at,
            new[-1].received_at,
            utc_ms_since=utc_ms(zone, new[0].received_at),
            utc_ms_at=utc_ms(zone, new[-1].received_at),
            shown_ms=[shown_ms(each, zone) for each in new],
            shown_before_ms=clock.told and clock.told.shown_ms,
        )
        if told is None:
            continue
        clock, marks = look(clock, told)
        yield Seen(at, clock, marks)


def shown_ms(read: Read, zone: ZoneInfo | None) -> int:
    wall_ms = round(read.received_at.timestamp() * 1000) + utc_ms(zone, read.received_at)
    return wall_ms + read.ahead_ms


def utc_ms(zone: ZoneInfo | None, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset() if zone else None
    return 0 if offset is None else round(offset / timedelta(milliseconds=1))


def steps(seen: list[Seen]) -> list[Mark]:
    return [mark for each in seen for mark in each.marks if mark.stepped]


def believed(seen: list[Seen]) -> int:
    assert seen[-1].clock.ahead_ms is not None
    return seen[-1].clock.ahead_ms


@pytest.mark.parametrize(
    "ahead_ms", [0, -8 * MINUTE, 8 * MINUTE, 15 * MINUTE, -HOUR, HOUR, -DAY, 30 * DAY, -9618 * DAY, -300, 300]
)
def test_a_clock_is_known_with_size_and_side_within_half_a_minute(ahead_ms: int) -> None:
    seen = race(lambda _: ahead_ms, minutes=10)
    known = [each.clock.ahead_ms for each in seen if each.at >= NOON + timedelta(seconds=30)]
    assert all(each is not None and -60 <= each - ahead_ms <= 0 for each in known), known
    assert steps(seen) == []


@pytest.mark.parametrize("ppm", [50, -50, 20, 0])
def test_a_clock_that_drifts_is_followed_and_its_drift_known(ppm: int) -> None:
    def clock_ms(at: datetime) -> float:
        return (at - NOON).total_seconds() * ppm / 1000

    seen = race(clock_ms, minutes=180, a_second=0.5)
    assert all(
        -120 <= each.clock.ahead_ms - clock_ms(each.at) <= 20
        for each in seen
        if each.clock.ahead_ms is not None
    )
    assert steps(seen) == []
    found = drift(points(seen))
    assert found is not None
    assert abs(found.ppm - ppm) < 4
    assert found.is_known == (ppm != 0)
    # Few rows: what drifts by 18 ms in six minutes needs one every few minutes, what stands still one in ten.
    assert sum(len(each.marks) for each in seen) <= 30 + abs(ppm)


def points(seen: list[Seen]) -> list[Point]:
    kept = {mark.at: mark.utc_ahead_ms for each in seen for mark in each.marks}
    return [Point(at.timestamp(), ahead_ms) for at, ahead_ms in sorted(kept.items())]


@pytest.mark.parametrize("by_ms", [HOUR, -HOUR, 15 * MINUTE, -6 * SECOND, 300, -DAY])
def test_a_clock_that_is_set_in_mid_race_is_a_step_with_both_values_once(by_ms: int) -> None:
    set_at = NOON + timedelta(minutes=10)
    seen = race(lambda at: -150 + (by_ms if at >= set_at else 0), minutes=20)
    (step,) = steps(seen)
    assert step.before_ms is not None
    assert -60 <= step.before_ms + 150 <= 0
    assert -60 <= step.utc_ahead_ms + 150 - by_ms <= 0
    assert step.between is not None
    assert step.between[0] <= set_at <= step.between[1]
    (stepped_at,) = {each.clock.stepped_at for each in seen if each.clock.stepped_at}
    assert timedelta(0) <= stepped_at - set_at <= timedelta(seconds=3 * LOOK_S)
    assert -60 <= believed(seen) + 150 - by_ms <= 0


@pytest.mark.parametrize(("by_ms", "stepped"), [(200, False), (-200, False), (201, True), (-201, True)])
def test_a_step_is_what_is_larger_than_a_fifth_of_a_second(by_ms: int, stepped: bool) -> None:
    clock = Clock(ahead_ms=0, told=Told(0, NOON, NOON), window=Window(NOON, 0))
    kept = []
    for seconds in (10, 20):
        at = NOON + timedelta(seconds=seconds)
        clock, marks = look(clock, Told(by_ms, at, at, back=seconds == 10))
        kept += marks
    assert [mark.stepped for mark in kept if mark.stepped] == [True] * stepped
    assert (clock.was_ms, clock.stepped_at is not None) == ((0, True) if stepped else (None, False))


@pytest.mark.parametrize("slow_ms", [300, 1500, 20 * SECOND])
@pytest.mark.parametrize("minutes", [0.5, 3, 12])
def test_a_link_that_is_slow_for_a_while_is_no_clock_that_was_set(slow_ms: int, minutes: float) -> None:
    """Its reads come late by much the same, and in the order in which they were made."""
    slow, quick = NOON + timedelta(minutes=10), NOON + timedelta(minutes=10 + minutes)

    def held(at: datetime) -> datetime | None:
        return max(at, min(at + timedelta(milliseconds=slow_ms), quick)) if slow <= at < quick else None

    seen = race(lambda _: 0, minutes=30, held=held)
    assert steps(seen) == []
    assert -60 <= believed(seen) <= 0
    for each in seen:
        if each.clock.ahead_ms is not None and each.at < slow + timedelta(minutes=5):
            assert -60 <= each.clock.ahead_ms <= 0


@pytest.mark.parametrize("by_ms", [-300, -1000])
def test_a_clock_that_is_set_back_by_too_little_to_show_times_twice_is_followed_in_minutes(
    by_ms: int,
) -> None:
    set_at = NOON + timedelta(minutes=10)
    seen = race(lambda at: by_ms if at >= set_at else 0, minutes=20, a_second=0.5)
    known = [each for each in seen if each.at >= set_at + timedelta(minutes=6)]
    assert all(-60 <= (each.clock.ahead_ms or 0) - by_ms <= 0 for each in known)
    # From when on it has been so, as far as looks tell.
    kept = {
        mark.at: mark.utc_ahead_ms for each in seen for mark in each.marks if mark.utc_ahead_ms < by_ms / 2
    }
    assert timedelta(0) <= min(kept) - set_at <= timedelta(seconds=3 * LOOK_S)


@pytest.mark.parametrize(
    ("before_ms", "shown_ms", "twice"),
    [
        (None, [], False),
        (None, [10, 20, 30], False),
        (5000, [4000], True),
        (5000, [4900], False),
        (5000, [1000, 2000, 3000, 5100], True),
        (5000, [1000, 5100, 2000, 5200], False),  # follow-ups between
        (None, [9000, 1000, 2000, 3000, 4000, 5000, *range(9100, 9900, 100)], True),
        (None, [9000, 1000, 2000, 3000, 4000, *range(9100, 9900, 100)], False),
    ],
)
def test_times_that_were_there_before_are_several_in_a_row(
    before_ms: int | None, shown_ms: list[int], twice: bool
) -> None:
    assert shows_twice(before_ms, shown_ms) is twice


def test_twenty_minutes_that_come_late_and_at_once_move_no_clock() -> None:
    """A link that was cut: what was read meanwhile comes together with what is read now."""
    cut, back = NOON + timedelta(minutes=10), NOON + timedelta(minutes=30)
    seen = race(lambda _: -200, minutes=45, held=lambda at: back if cut <= at < back else None)
    assert all(-60 <= each.clock.ahead_ms + 200 <= 5 for each in seen[2:] if each.clock.ahead_ms is not None)
    assert steps(seen) == []


def test_a_backlog_that_comes_slowly_says_nothing_however_long_it_takes() -> None:
    """Twenty minutes of reads come at twice the speed: each look is less late than the one before."""
    began, held_s = NOON, 20 * 60

    def held(at: datetime) -> datetime:
        since_s = (at - began).total_seconds()
        return max(at, began + timedelta(seconds=held_s + since_s / 2))

    seen = race(lambda _: 0, minutes=60, held=held)
    waits_until = began + timedelta(seconds=2 * held_s)
    assert {each.clock.ahead_ms for each in seen if each.at < waits_until} == {None}
    assert -60 <= believed(seen) <= 0
    assert steps(seen) == []


NIGHTS = [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]


@pytest.mark.parametrize("night", NIGHTS)
def test_a_clock_that_is_set_with_summer_time_stays_right_and_was_set_by_nobody(night: datetime) -> None:
    began = night - timedelta(minutes=10, seconds=3)  # so that a look has reads of before and after
    seen = race(lambda _: -40, minutes=20, began_at=began, zone=BERLIN)
    assert all(-100 <= each.clock.ahead_ms <= -30 for each in seen if each.clock.ahead_ms is not None)
    assert steps(seen) == []
    # By UTC it is another one, from that very moment on.
    kept = sorted((mark.at, mark.utc_ahead_ms) for each in seen for mark in each.marks)
    for at, utc_ahead_ms in kept:
        assert abs(utc_ahead_ms - utc_ms(BERLIN, at)) <= 100, (at, utc_ahead_ms)
    assert night in [at for at, _ in kept]


@pytest.mark.parametrize("night", NIGHTS)
def test_a_clock_that_stays_behind_in_such_a_night_is_off_by_an_hour_and_was_set_by_nobody(
    night: datetime,
) -> None:
    began = night - timedelta(minutes=10, seconds=3)  # so that a look has reads of before and after
    before_ms = utc_ms(BERLIN, began)
    seen = race(lambda at: before_ms - utc_ms(BERLIN, at), minutes=20, began_at=began, zone=BERLIN)
    moved_ms = before_ms - utc_ms(BERLIN, night)
    assert abs(moved_ms) == HOUR
    assert -60 <= believed(seen) - moved_ms <= 0
    assert steps(seen) == []
    # Nothing has happened to it: what its reads are corrected by is the same all night.
    assert {abs(mark.utc_ahead_ms - before_ms) <= 100 for each in seen for mark in each.marks} == {True}


def test_a_line_that_lies_says_nothing_among_ten() -> None:
    assert said([-50] * 9 + [DAY]) == -50
    assert said([-30 * n for n in range(20)] + [HOUR, HOUR]) == 0
    assert said([-5]) == -5
    assert said([]) is None
    assert said([-5], utc_ms_since=HOUR) is None


def said(ahead_ms: list[int], *, utc_ms_since: int = 0) -> int | None:
    told = tell(ahead_ms, NOON, NOON, utc_ms_since=utc_ms_since, utc_ms_at=0)
    return None if told is None else told.ms


def test_reads_that_were_held_back_are_no_clock_until_a_later_look_says_the_same() -> None:
    told = [Told(-19_000, NOON + timedelta(seconds=s), NOON + timedelta(seconds=s)) for s in (0, 1, 10)]
    first, _ = look(Clock(), told[0])
    together, _ = look(first, told[1])
    assert (first.ahead_ms, together.ahead_ms) == (None, None)
    assert look(first, told[2])[0].ahead_ms == -19_000


@pytest.mark.parametrize(
    ("streams", "quarter"),
    [
        ({}, None),
        ({8: 1}, None),
        ({8: 2}, 8),
        ({8: 2, 4: 1}, 8),
        ({8: 2, 4: 2}, None),
        ({8: 2, 4: 1, 0: 1}, None),
        ({8: 2, 96: 40}, 8),  # forty readers a day ahead of the others agree on no zone
    ],
)
def test_a_zone_is_what_most_agree_on_and_two_at_least(streams: dict[int, int], quarter: int | None) -> None:
    assert agreed_quarter(streams) == quarter


def test_a_drift_is_not_known_of_little() -> None:
    minute = [Point(60.0 * n, 3.0 * n) for n in range(180)]
    assert drift(minute[:29]) is None
    assert drift(minute[::60]) is None
    assert drift(minute) == pytest.approx(Drift(50, 10 / (179 * 60) * 1000))


def test_when_a_clock_will_be_off_is_foreseen_on_the_side_to_which_it_drifts() -> None:
    assert reaches(100, 50, 500, NOON) == NOON + timedelta(seconds=8000)
    assert reaches(100, -50, 500, NOON) == NOON + timedelta(seconds=12000)
    assert reaches(-600, 50, 500, NOON) == NOON + timedelta(seconds=22000)
    assert reaches(600, 50, 500, NOON) is None  # it was, before
    assert reaches(0, 0, 500, NOON) is None
