"""The course of a race: who passes which mat when, and what the readers there say.

Pure: the same plan gives the same reads to the character. The field leaves in one burst, stretches over the
splits and comes home along a normal curve; at each mat every reader sees each chip several times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from random import Random
from typing import NamedTuple

from deploy.simulation.devices.reader import Line, Reader

__all__ = ["Plan", "RaceRead", "forwarder_names", "reader_ip", "run_race"]

# Parts of the race's length: the gun, the mean and the longest wait in the crowd behind the line, a runner's
# mean time over the course, how far times scatter, and how many such steps the fastest and slowest are away.
_GUN, _QUEUE, _LONGEST_QUEUE = 0.02, 0.03, 0.10
_COURSE, _SCATTER, _SCATTER_STEPS = 0.60, 0.10, 2.2
# A chip is over a mat for a fraction of a second.
_SIGHTINGS = (1, 5)
_BETWEEN_SIGHTINGS_S = (0.01, 0.08)


@dataclass(frozen=True, slots=True)
class Plan:
    """One race: `reads` lines within `seconds` from `started_at`, over as many mats as `forwarders`."""

    seed: str
    forwarders: int
    readers: int
    reads: int
    seconds: float
    started_at: datetime


class RaceRead(NamedTuple):
    """One line, `at_s` after the start, at a reader of a forwarder; both count from 0."""

    at_s: float
    forwarder: int
    reader: int
    line: Line


class _Sighting(NamedTuple):
    at_s: float
    forwarder: int
    reader: int
    tag_id: str


def forwarder_names(forwarders: int) -> list[str]:
    """Return what the mats are called, from the first to the last."""
    if forwarders == 1:
        return ["Finish"]
    return ["Start", *(f"Split {n}" for n in range(1, forwarders - 1)), "Finish"]


def reader_ip(forwarder: int, reader: int) -> str:
    """Return the address of a reader as forwarders name it."""
    return f"10.0.{forwarder + 1}.{reader + 1}:9999"


def run_race(plan: Plan) -> list[RaceRead]:
    """Return every read of the race in the order of time."""
    random = Random(plan.seed)  # noqa: S311 - a race, not a secret
    readers = {
        (forwarder, reader): Reader(f"{reader:02x}", random)
        for forwarder in range(plan.forwarders)
        for reader in range(plan.readers)
    }
    return [
        RaceRead(
            at_s,
            forwarder,
            reader,
            readers[forwarder, reader].see(tag_id, plan.started_at + timedelta(seconds=at_s)),
        )
        for at_s, forwarder, reader, tag_id in sorted(islice(_sightings(plan, random), plan.reads))
    ]


def _sightings(plan: Plan, random: Random) -> Iterator[_Sighting]:
    """One runner after the other, without end."""
    mats = _mats(plan.forwarders)
    for bib in count(1):
        tag_id = f"058003{bib:06x}"
        crossed_at_s = (_GUN + min(random.expovariate(1 / _QUEUE), _LONGEST_QUEUE)) * plan.seconds
        pace = max(-_SCATTER_STEPS, min(_SCATTER_STEPS, random.gauss(0, 1)))
        course_s = (_COURSE + _SCATTER * pace) * plan.seconds
        for forwarder, part in mats:
            for reader in range(plan.readers):
                for after_s in _glimpses(random):
                    at_s = min(crossed_at_s + part * course_s + after_s, plan.seconds)
                    yield _Sighting(at_s, forwarder, reader, tag_id)


def _mats(forwarders: int) -> list[tuple[int, float]]:
    """Each forwarder and the part of the course before it; a single one is both start and finish."""
    if forwarders == 1:
        return [(0, 0.0), (0, 1.0)]
    return [(forwarder, forwarder / (forwarders - 1)) for forwarder in range(forwarders)]


def _glimpses(random: Random) -> Iterator[float]:
    """When one reader sees a chip again and again while it crosses the mat."""
    after_s = 0.0
    for _ in range(random.randint(*_SIGHTINGS)):
        after_s += random.uniform(*_BETWEEN_SIGHTINGS_S)
        yield after_s
