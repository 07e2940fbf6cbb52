"""Pages of crossings, the newest first, each with the reads that explain it.

A crossing stands where the passing of it stands that began last, which is one read for one crossing: so pages by that
read hold each crossing once, and only those passings are looked at whose places a page covers. Who waits for a page
while people come by sees each of them once, too: who comes by again moves to the front.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from struct import pack, unpack
from typing import NamedTuple
from uuid import UUID

from api.crossings import shown, types
from api.crossings.crossing import ReadAt, Rule
from api.crossings.people import Found, found, near, nearest
from api.crossings.store import passings
from api.crossings.store.behind import behind
from api.crossings.store.passings import Course
from api.crossings.types import READS_SHOWN, CrossingPage, CrossingQuery
from api.passings.waiting import waiting_events
from api.races.names import NOBODY, people
from shared.db.connections import Pool, Statements

__all__ = ["page", "wanted_chips"]

# Of twin mats each has a passing of who comes by.
LOOKED_AT = 2
_YEAR_1 = datetime.min  # noqa: DTZ901 - a reader's own clock
_MICROSECOND = timedelta(microseconds=1)
FIRST = ReadAt(datetime.max, UUID(int=2**128 - 1), 2**63 - 1, 2**63 - 1)  # noqa: DTZ901


class _Part(NamedTuple):
    """Crossings in their order, and behind which read there may be more; None: there are none."""

    found: Sequence[Found]
    next: ReadAt | None


async def page(pool: Pool, race_id: UUID, course: Course, query: CrossingQuery) -> CrossingPage:
    """Return a page of a race whose points these are, and which has the one that is asked for."""
    waiting = await waiting_events(pool, race_id)
    before = FIRST if query.cursor is None else _decoded(query.cursor)
    gap = timedelta(seconds=query.gap)
    if query.bib is None and query.chip is None:
        part = await _newest(pool, race_id, course, query.at, gap=gap, before=before, limit=query.limit)
    else:
        part = await _of_person(pool, race_id, course, query, before=before)
    return CrossingPage(
        gap=query.gap,
        crossings=await _explained(pool, race_id, part.found),
        next_cursor=None if part.next is None else _encoded(part.next),
        waiting_events=waiting,
    )


async def _newest(
    pool: Pool, race_id: UUID, course: Course, at: str | None, *, gap: timedelta, before: ReadAt, limit: int
) -> _Part:
    looked_at = LOOKED_AT * limit
    newest = await passings.newest(pool, race_id, at, before=before, limit=looked_at)
    passed = await passings.of_people(pool, race_id, [each[:2] for each in newest], gap=gap)
    # Who passes between the two looks is at the front now, and on no page that begins behind it.
    until = newest[-1][2] if len(newest) == looked_at else None
    return _part(found(passed, course.points, gap=gap), before, until, limit)


async def _of_person(
    pool: Pool, race_id: UUID, course: Course, query: CrossingQuery, *, before: ReadAt
) -> _Part:
    chip = query.tag_id
    tags = await wanted_chips(pool, race_id, query.bib, chip)
    gap = timedelta(seconds=query.gap)
    passed = await passings.of_people(pool, race_id, [(query.at, tag) for tag in tags], gap=gap)
    all_found = found(passed, course.points, gap=gap)
    of_chip = [each for each in all_found if chip is None or chip in each.crossing.tags]
    return _part(of_chip, before, None, query.limit)


async def wanted_chips(
    database: Statements, race_id: UUID, bib: int | None, chip: str | None
) -> Sequence[str]:
    """Return the chips of a bib, or the one that is asked for."""
    if bib is not None:
        return await passings.chips_of(database, race_id, bib)
    return [] if chip is None else [chip]


def _part(all_found: Sequence[Found], before: ReadAt, until: ReadAt | None, limit: int) -> _Part:
    """Return the crossings that stand before a read and not beyond another, `limit` at the most."""
    within = [
        each
        for each in all_found
        if each.crossing.begun < before and (until is None or each.crossing.begun >= until)
    ]
    within.sort(key=lambda each: each.crossing.begun, reverse=True)
    if len(within) > limit:
        return _Part(within[:limit], within[limit - 1].crossing.begun)
    return _Part(within, until)


async def _explained(pool: Pool, race_id: UUID, all_found: Sequence[Found]) -> list[types.Crossing]:
    """Return crossings with names and the reads behind them: three looks at the most, whatever their number."""
    known = await people(
        pool, {(race_id, each.subject.bib) for each in all_found if each.subject.bib is not None}
    )
    reads: dict[int, list[ReadAt]] = {}
    rules: tuple[Rule, ...] = ("first", "last")
    for rule in rules:
        numbers = [n for n, each in enumerate(all_found) if each.crossing.rule == rule]
        nears = [near(all_found[n].crossing, READS_SHOWN) for n in numbers]
        for n, each in zip(numbers, await behind(pool, nears, rule, limit=READS_SHOWN), strict=True):
            reads[n] = nearest(all_found[n].crossing, each, READS_SHOWN)
    return [
        shown.row(each, known.get((race_id, each.subject.bib or 0), NOBODY), reads[n])
        for n, each in enumerate(all_found)
    ]


def _encoded(read: ReadAt) -> str:
    at = (read.read_at - _YEAR_1) // _MICROSECOND
    return urlsafe_b64encode(pack(">q16sqq", at, read.stream_id.bytes, *read[2:])).decode().rstrip("=")


def _decoded(cursor: str) -> ReadAt:
    """Return the read that a cursor stands for, which types.py has checked. A time that is none counts as the first."""
    at, stream_id, epoch, seq = unpack(">q16sqq", urlsafe_b64decode(cursor + "=="))
    try:
        return ReadAt(_YEAR_1 + at * _MICROSECOND, UUID(bytes=stream_id), epoch, seq)
    except OverflowError:
        return FIRST
