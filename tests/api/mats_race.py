"""Races as pure data, each by its seed: when everybody crosses each point, in seconds since the gun."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random

from api.mats.forecast import Forecast, Runner, forecast, usual_gap
from api.mats.silence import ARRIVES_S, Silence, due_within, judged

__all__ = ["Field", "Silent", "came", "looked", "race", "silent"]

# A runner's times at each point; None where nobody has seen her there.
Times = Sequence[float | None]


@dataclass(frozen=True)
class Field:
    """Who runs. km: where the points are. spread_s: how long it takes until all of a wave have left. gives_up, missed:
    shares of those who leave the race on a leg, and of whom a mat does not see. groups: so many run together at most.
    """

    people: int = 500
    km: tuple[float, ...] = (0, 5, 10)
    spread_s: float = 90
    gives_up: float = 0.03
    missed: float = 0.01
    walkers: float = 0.05
    waves: int = 1
    wave_gap_s: float = 600
    sorted_waves: bool = False
    groups: int = 1


def race(seed: int, field: Field) -> list[Times]:
    """Return when everybody comes by each point."""
    random = Random(seed)
    paces: list[tuple[float, float]] = []
    while len(paces) < field.people:
        pace = 330 * exp(random.gauss(0, 0.18))
        if random.random() < field.walkers:
            pace = 330 * random.uniform(1.5, 2.1)
        leaves = random.uniform(0, field.spread_s)
        paces += [(pace, leaves + random.uniform(0, 2))] * random.randint(1, field.groups)
    if field.sorted_waves:
        paces.sort()
    return [
        _runner(random, field, pace, leaves + number * field.waves // field.people * field.wave_gap_s)
        for number, (pace, leaves) in enumerate(paces[: field.people])
    ]


def _runner(random: Random, field: Field, pace: float, leaves: float) -> Times:
    at, runs = leaves, True
    times: list[float | None] = [leaves]
    for before, there in zip(field.km, field.km[1:], strict=False):
        runs = runs and random.random() >= field.gives_up
        at += (there - before) * pace * exp(random.gauss(0, 0.05 if field.groups == 1 else 0.004))
        times.append(at if runs and random.random() >= field.missed else None)
    return times


def came(times: Sequence[Times], point: int) -> list[float]:
    """Return when somebody comes by a point, in order."""
    return sorted(at for each in times if (at := each[point]) is not None)


def looked(times: Sequence[Times], point: int, last: float, now: float) -> Forecast | None:
    """Return what is told of a point that has seen its last runner, by who has left the point before by now."""
    runners = []
    for each in times:
        crossed, at, start = each[point - 1], each[point], each[0]
        if crossed is not None and start is not None and crossed <= now:
            took = at - crossed if at is not None and at <= last else None
            runners.append(Runner(crossed - last, crossed - start if point > 1 else None, took))
    return forecast(runners, 0.0)


@dataclass(frozen=True)
class Silent:
    """A silence of a point, and after how many seconds it is amber and red, if it is."""

    begins: float
    lasts: float
    amber_s: float | None
    red_s: float | None


def silent(times: Sequence[Times], point: int, number: int, *, lasts: float) -> Silent:
    """Return what is said of the silence of a point behind the arrival of a number, for so long."""
    arrivals = came(times, point)[: number + 1]
    begins = arrivals[-1]
    found = looked(times, point, begins, begins + lasts)
    amber = red = None
    if found is not None:
        usual, at = usual_gap(arrivals), ARRIVES_S
        while at < lasts and red is None:
            due, surely = (due_within(bins, 0, at - ARRIVES_S) for bins in (found.due, found.surely_due))
            level = judged(Silence(at, usual, due, surely))
            amber = at if amber is None and level != "good" else amber
            red = at if level == "act" else None
            at += 1 if at < 120 else 5
    return Silent(begins, lasts, amber, red)
