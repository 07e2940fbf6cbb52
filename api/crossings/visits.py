"""What a read says of somebody: whether it is the first at its point or another, and how long after the point before.

It is said by all reads that are stored, in whatever order they came in, and for people whose bib is known. What becomes
a passing a moment later is looked at itself, so a read that is told at once is told rightly.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from api.crossings.crossing import DEFAULT_GAP_S, Passing, ReadAt, rule_at
from api.crossings.people import At, Found, Passed, Subject, found
from api.crossings.store.visits import seen
from shared.db.connections import Statements

__all__ = ["NOTHING", "Person", "Visit", "visits"]

GAP = timedelta(seconds=DEFAULT_GAP_S)
_MILLISECOND = timedelta(milliseconds=1)


class Person(NamedTuple):
    """Somebody of a race."""

    race_id: UUID
    bib: int


class Visit(NamedTuple):
    """What is said of a read; None: nobody knows."""

    visit: Literal["first", "again"] | None = None
    point_before: str | None = None
    since_point_before_ms: int | None = None


NOTHING = Visit()


async def visits(
    database: Statements, reads: Collection[tuple[Person, ReadAt]]
) -> Mapping[tuple[Person, ReadAt], Visit]:
    """Return what is said of reads: one look, whatever their number, and none where there are none."""
    people = sorted({person for person, _ in reads})
    if not people:
        return {}
    of: dict[Person, list[tuple[Any, ...]]] = {}
    for race_id, bib, *columns in await seen(database, people):
        of.setdefault(Person(race_id, bib), []).append(tuple(columns))
    known = {person: _History(person, rows) for person, rows in of.items()}
    return {(person, read): known[person].at(read) for person, read in reads if person in known}


class _History:
    """Where and when somebody was."""

    def __init__(self, person: Person, rows: Iterable[Sequence[Any]]) -> None:
        points: dict[str, At] = {}
        passed: list[Passed] = []
        self._behind: set[str] = set()
        self._is_cut = False
        for behind, is_cut, at, place, name, places, *columns in rows:
            self._behind.update(behind)
            self._is_cut |= is_cut
            points[at] = At(at, place, name, rule_at(place, places=places))
            passed.append(Passed(at, Subject(person.bib, None), Passing(*columns)))
        self._at = {(each.passing.stream_id, each.passing.stream_epoch): each.at for each in passed}
        self._first: dict[str, ReadAt] = {}
        for each in passed:
            self._first[each.at] = min(each.passing.first, self._first.get(each.at, each.passing.first))
        self._found: Sequence[Found] = sorted(
            found(passed, points, gap=GAP), key=lambda each: each.crossing.counting
        )

    def at(self, read: ReadAt) -> Visit:
        """Return what is said of a read of this person."""
        at = self._at.get((read.stream_id, read.stream_epoch))
        if at is None or self._is_cut or at in self._behind or read < self._first[at]:
            # She may have been here before what is looked at.
            return NOTHING
        before = [each for each in self._found if each.point.at != at and each.crossing.counting <= read]
        visit: Literal["first", "again"] = "first" if read == self._first[at] else "again"
        if not before or self._behind:
            # While not all is known of another point, she may have been there since the last one that is known.
            return Visit(visit)
        last = before[-1]
        since = read.read_at - last.crossing.counting.read_at
        return Visit(visit, last.point.name, since // _MILLISECOND)
