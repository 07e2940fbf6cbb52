"""Who was where and when: the passings of a race, merged into the crossings of each person at each point, and the reads
that explain them. Pure.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple

from api.crossings.crossing import Crossing, Passing, ReadAt, Rule, counting_first, crossings

__all__ = ["At", "Found", "Passed", "Subject", "found", "near", "nearest"]


class At(NamedTuple):
    """A point, as people know it, and which read counts there."""

    at: str
    place: int | None
    name: str
    rule: Rule


class Subject(NamedTuple):
    """Whose passings are merged: a bib's, or those of a chip that is nobody's."""

    bib: int | None
    tag_id: str | None


class Passed(NamedTuple):
    """A passing of a race: at which point, and whose it is."""

    at: str
    subject: Subject
    passing: Passing


class Found(NamedTuple):
    """A crossing, where it was and whose it is."""

    point: At
    subject: Subject
    crossing: Crossing


def found(passed: Iterable[Passed], points: Mapping[str, At], *, gap: timedelta) -> list[Found]:
    """Return the crossings of all whose passings these are. What is at no point has just come to the race."""
    apart: dict[tuple[str, Subject], list[Passing]] = {}
    for each in passed:
        if each.at in points:
            apart.setdefault((each.at, each.subject), []).append(each.passing)
    return [
        Found(points[at], subject, crossing)
        for (at, subject), those in apart.items()
        for crossing in crossings(those, gap=gap, rule=points[at].rule)
    ]


def near(crossing: Crossing, most: int) -> list[Passing]:
    """Return the passings that have the `most` reads that would count first: no more of them, as each has one that is
    before all of the next.
    """
    if crossing.rule == "first":
        return sorted(crossing.passings, key=lambda each: each.first)[:most]
    return sorted(crossing.passings, key=lambda each: each.last, reverse=True)[:most]


def nearest(crossing: Crossing, reads: Iterable[ReadAt], most: int) -> list[ReadAt]:
    """Return the first of a crossing's reads in the order in which they would count, the one that does first."""
    others = counting_first((each for each in reads if each != crossing.counting), crossing.rule)
    return [crossing.counting, *others][:most]
