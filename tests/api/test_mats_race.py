"""Races with a seed each: a mat that is cut is red soon after ten are due, and one that is well never is."""

from collections.abc import Iterator

import pytest

from api.mats.forecast import BINS, Runner, forecast, usual_gap
from api.mats.silence import GAPS, Silence, due_within, judged, none_of
from tests.api.mats_race import Field, came, race, silent

FIELDS = {
    "one wave": Field(),
    "a start of ten minutes": Field(spread_s=600),
    "all at once": Field(spread_s=10),
    "few": Field(people=150),
    "many walkers": Field(walkers=0.3),
    "many who give up": Field(gives_up=0.06),
    "waves": Field(people=600, waves=3),
    "waves by pace": Field(people=600, waves=3, sorted_waves=True),
    "groups": Field(groups=4),
}
# Where they come in a stream; between waves, and between runners and walkers, there are pauses in which nobody is due.
STREAMS = [name for name in FIELDS if name not in ("few", "many walkers", "waves", "waves by pace")]
LONG_AFTER_S = 1_800.0


def seeds(name: str) -> Iterator[int]:
    """Others for each field: what is no fault of one is none of another."""
    begins = 100 * list(FIELDS).index(name)
    yield from range(begins, begins + 2)


@pytest.mark.parametrize("name", FIELDS)
def test_a_race_without_faults_is_never_red_not_at_its_quiet_end_either(name: str) -> None:
    for seed in seeds(name):
        times = race(seed, FIELDS[name])
        for point in (1, 2):
            arrivals = came(times, point)
            for number, (at, after) in enumerate(zip(arrivals, [*arrivals[1:], None], strict=True)):
                lasts = LONG_AFTER_S if after is None else after - at
                if lasts > 20 and number > 30:
                    found = silent(times, point, number, lasts=lasts)
                    assert found.red_s is None, (seed, point, found)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_mat_that_is_cut_is_red_within_a_minute_of_the_first_ten_that_were_due(
    name: str, share: float
) -> None:
    for seed in seeds(name):
        times = race(seed, FIELDS[name])
        for point in (1, 2):
            arrivals = came(times, point)
            cut = int(len(arrivals) * share)
            tenth_s = arrivals[cut + 10] - arrivals[cut]
            found = silent(times, point, cut, lasts=LONG_AFTER_S)
            assert found.red_s is not None, (seed, point)
            assert found.red_s <= tenth_s + 60, (seed, point, tenth_s, found)


@pytest.mark.parametrize("name", ["many walkers", "waves", "waves by pace"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_in_a_race_with_pauses_it_is_seen_as_well_though_later(name: str, share: float) -> None:
    """A wave of which nobody has come to the first split yet may be slower than all before it, and is waited for."""
    for seed in seeds(name):
        times = race(seed, FIELDS[name])
        for point in (1, 2):
            arrivals = came(times, point)
            cut = int(len(arrivals) * share)
            tenth_s = arrivals[cut + 10] - arrivals[cut]
            found = silent(times, point, cut, lasts=LONG_AFTER_S)
            assert found.amber_s is not None, (seed, point, tenth_s, found)
            assert found.amber_s <= tenth_s + 180, (seed, point, tenth_s, found)
            if point > 1:
                assert found.red_s is not None
                assert found.red_s <= tenth_s + 180, (seed, point, tenth_s, found)


def test_fewer_than_thirty_who_are_through_tell_nothing() -> None:
    """Whoever is due next nobody knows, however long nobody has come."""
    on_the_way = [Runner(-1100.0 - each, None, None) for each in range(200)]
    through = [Runner(-2000.0 - each, None, 1000.0 + each) for each in range(29)]
    assert forecast(on_the_way + through, 0.0) is None
    found = forecast([*on_the_way, *through, Runner(-2100.0, None, 1015.0)], 0.0)
    assert found is not None
    assert len(found.due) == BINS


def test_whoever_gave_up_is_not_due_for_ever() -> None:
    """A hundred who took between ten and twenty minutes, and thirty who left with them and never came."""
    through = [Runner(-4000.0 + each, None, 600.0 + 6 * each) for each in range(100)]
    gone = [Runner(-4000.0 + 3 * each, None, None) for each in range(30)]
    found = forecast(through + gone, 0.0)
    assert found is not None
    assert sum(found.due) < 1


def test_those_who_are_slow_are_due_later() -> None:
    """All take about as long again as they took until here; of the last tenth nobody can tell."""
    through = [
        Runner(-3000.0 + each, 600.0 + each, (600.0 + each) * (0.95 + each % 10 / 100)) for each in range(100)
    ]
    fast = [Runner(0.0, 600.0, None)] * 30
    slow = [Runner(0.0, 1200.0, None)] * 30
    found = forecast([*through, *fast, *slow], 0.0)
    assert found is not None
    assert 20 < due_within(found.due, 550, 650) <= 30
    assert 20 < due_within(found.due, 1100, 1300) <= 30
    assert sum(found.due) <= 60


def test_an_improbable_silence_is_amber_and_then_red() -> None:
    assert none_of(4.6) > 1e-2 > none_of(4.7)
    assert none_of(9.2) > 1e-4 > none_of(9.3)
    assert judged(Silence(60, 1, 4.7, 4.7)) == "watch"
    assert judged(Silence(60, 1, 9.3, 9.3)) == "act"
    # Who is due at the latest decides what is red, and what is usual whether it is a silence at all.
    assert judged(Silence(60, 1, 9.3, 9.1)) == "watch"
    assert judged(Silence(60, 61 / GAPS, 99, 99)) == "good"


def test_a_pause_between_waves_is_not_what_is_usual() -> None:
    arrivals = [float(each) for each in range(30)] + [700.0 + each for each in range(30)]
    assert usual_gap(arrivals) == 1.0
    assert usual_gap([5.0]) == 0.0


def test_what_is_due_is_counted_within_bins() -> None:
    assert due_within([10.0, 20.0], 5, 15) == 15.0
    assert due_within([10.0, 20.0], 15, 500) == 10.0
    assert due_within([10.0, 20.0], 9, 3) == 0.0
