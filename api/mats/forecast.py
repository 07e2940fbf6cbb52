"""Who is due at a point, and when: of those who crossed the point before, by how long the others took. Pure.

How long somebody takes is a number of her own legs: one who was slow to the 5 km mat is slow from there on. So times
are told in units of each runner's own way so far (`own`); where nothing is known of it, as from the start on, in
seconds.

Those who are through are the fast ones of those who left: their quantiles alone would have everybody due when the
first come. So whoever is still on the way counts, too, as somebody who takes longer than she has by now (Kaplan and
Meier's estimate), and one who has left the race weighs on it without ever being due. Beyond the longest time that is
known the flow is taken to go on as it was, for a little while.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

__all__ = [
    "BINS",
    "BIN_S",
    "LAST_SHARE",
    "THROUGH",
    "Curve",
    "Forecast",
    "Runner",
    "curve",
    "forecast",
    "longest_gap",
    "usual_gap",
]

# Fewer who are through tell nothing.
THROUGH = 30
# What is due is told in so many bins of so many seconds.
BIN_S, BINS = 10, 180
# The last steps of a curve are told one by one, so many of them, and those before in as many.
STEPS = 20
# Of the last few on the way one that comes says nothing of the others: they may have left the race.
AT_RISK, LAST_SHARE = 20, 0.1
# What goes on beyond the longest time: as the last 20 came, for as long as the last 6 took, or a minute.
RECENT, GOES_ON, GOES_ON_S, FURTHER_STEPS = 20, 6, 60.0, 6
# A pause of this length among those who left ends a wave. While too few of one are through it may take so many times as
# long as those before.
WAVE_S, SLOWER = 120.0, 1.5
# Gaps between those who came last, and how many of them may be longer than what is usual: a pause between waves is one.
GAPS, LONGER = 48, 2


class Runner(NamedTuple):
    """Somebody who crossed the point before. crossed: when, in seconds; own: how long she took to get there, where that
    is known; took: how long she took from there on, by the clocks of both mats, if she is through.
    """

    crossed: float
    own: float | None
    took: float | None


class Curve(NamedTuple):
    """How many of those who left are still on the way after a time: shares[n] from times[n] on, all before the
    first.
    """

    times: Sequence[float]
    shares: Sequence[float]


class Forecast(NamedTuple):
    """How many are due in each bin, how many of those at the latest, and how long it takes."""

    due: Sequence[float]
    surely_due: Sequence[float]
    how: Curve


def curve(runners: Sequence[Runner], now: float) -> Curve | None:
    """Return how long it takes, as it is known at a time; None: too few are through, or too many are on the way."""
    known = [_elapsed(each, now) for each in runners if each.crossed < now]
    times = sorted(time for time, _ in known)
    through = sorted(time for time, is_through in known if is_through)
    at_risk = [len(times) - bisect_left(times, time) for time in through]
    told = bisect_right([-each for each in at_risk], -max(AT_RISK, LAST_SHARE * len(times)))
    if told < THROUGH:
        return None
    through, at_risk = through[:told], at_risk[:told]
    left = list(accumulate((1 - 1 / each for each in at_risk), lambda share, stay: share * stay))
    # The last ones one by one: many of them told as one would all be due at its end.
    fine = max(0, told - STEPS)
    kept = [*range(0, fine, max(1, fine // STEPS)), *range(fine, told)]
    further = list(_further(through, at_risk, left[-1], _unit(runners)))
    return Curve(
        [*(through[at] for at in kept), *(time for time, _ in further)],
        [*(left[at] for at in kept), *(share for _, share in further)],
    )


def _further(
    through: Sequence[float], at_risk: Sequence[int], left: float, unit: float
) -> Iterator[tuple[float, float]]:
    """Yield how it goes on beyond the longest time."""
    last = through[-1]
    lasted = last - through[-RECENT]
    # In a race whose mats stand at one another all may come at once: nothing is known of how that goes on.
    if lasted > 0:
        hazard = sum(1 / each for each in at_risk[-RECENT:]) / lasted
        reach = max(last - through[-GOES_ON], GOES_ON_S / unit)
        for step in range(1, FURTHER_STEPS + 1):
            left *= max(0.0, 1 - hazard * reach / FURTHER_STEPS)
            yield last + reach * step / FURTHER_STEPS, left


def forecast(runners: Sequence[Runner], now: float) -> Forecast | None:
    """Return who is due from a time on; None: too little is known yet."""
    of_all = curve(runners, now)
    if of_all is None:
        return None
    expected, surely = [0.0] * BINS, [0.0] * BINS
    # Waves are sorted by pace. Who is told by her own way needs no wave.
    for wave in _waves(runners) if runners[0].own is None else [runners]:
        how = curve(wave, now)
        due = _due(wave, how or of_all, now)
        late = due if how else _due(wave, of_all, now, slower=SLOWER)
        expected = [all_of_it + each for all_of_it, each in zip(expected, due, strict=True)]
        surely = [all_of_it + each for all_of_it, each in zip(surely, late, strict=True)]
    return Forecast(expected, surely, of_all)


def _waves(runners: Sequence[Runner]) -> Iterator[Sequence[Runner]]:
    """Yield those who left together, in the order in which they left."""
    wave: list[Runner] = []
    for each in sorted(runners, key=lambda each: each.crossed):
        if wave and each.crossed - wave[-1].crossed > WAVE_S:
            yield wave
            wave = []
        wave.append(each)
    yield wave


def _due(runners: Sequence[Runner], how: Curve, now: float, *, slower: float = 1.0) -> list[float]:
    """Return how many of those who are not through are due in each bin, if all take so many times as long."""
    bins = [0.0] * BINS
    for each in runners:
        if _is_on_the_way(each, now):
            unit = slower * (each.own or 1.0)
            for time, share in _steps(how, max(0.0, now - each.crossed) / unit):
                at = int((each.crossed + time * unit - now) // BIN_S)
                if 0 <= at < BINS:
                    bins[at] += share
    return bins


def usual_gap(came: Sequence[float]) -> float:
    """Return the longest that is usual between two who come, by those who came last; `came`: when, in order."""
    gaps = sorted((after - before for before, after in pairwise(came[-GAPS - 1 :])), reverse=True)
    return gaps[min(LONGER, len(gaps) - 1)] if gaps else 0.0


def longest_gap(came: Sequence[float]) -> float:
    """Return the longest between two who came, of those who came last; `came`: when, in order."""
    return max((after - before for before, after in pairwise(came[-GAPS - 1 :])), default=0.0)


def _steps(how: Curve, since: float) -> Iterator[tuple[float, float]]:
    """Yield when somebody who is on the way for so long comes, with how likely that is."""
    begins = bisect_right(how.times, since)
    before = on_the_way = how.shares[begins - 1] if begins else 1.0
    if on_the_way <= 0:
        return
    for at in range(begins, len(how.times)):
        yield how.times[at], (before - how.shares[at]) / on_the_way
        before = how.shares[at]


def _is_on_the_way(runner: Runner, now: float) -> bool:
    return runner.took is None or runner.crossed + runner.took > now


def _elapsed(runner: Runner, now: float) -> tuple[float, bool]:
    unit = runner.own or 1.0
    if runner.took is None or _is_on_the_way(runner, now):
        return (now - runner.crossed) / unit, False
    return runner.took / unit, True


def _unit(runners: Sequence[Runner]) -> float:
    own = sorted(each.own or 1.0 for each in runners)
    return own[len(own) // 2]
