"""Anybody by bib, chip or name; and what was read of one of them."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from api.crossings.crossing import Passing
from api.http.context import Api
from api.http.errors import ApiError
from api.search import others, store, timeline
from api.search.store import Person, Place
from api.search.types import ChipPath, Found, PersonPath, Search, Timeline, TimelinePoint, TimelineQuery

__all__ = ["find_people", "require_person", "show_chip_timeline", "show_timeline"]

MOST_PEOPLE = 20
# Of one person: a chip that lies beside a mat is read all day.
MOST_PASSINGS, MOST_READS, MOST_EVENTS = 2_000, 1_000, 20_000
LARGEST_BIB = 2**31 - 1
# What a reader says of a chip.
_CHIP = re.compile(r"[0-9a-f]{12}")


async def find_people(api: Api, *, body: Search) -> Found:
    """Find people by bib, chip or a part of a name, over all races; and a chip that was read, whoever has it."""
    wanted = body.q.strip().lower()
    if not wanted:
        raise ApiError("BAD_REQUEST", "body: `q` is blank; give a bib, a chip or a part of a name")
    bib = int(wanted) if wanted.isascii() and wanted.isdigit() and int(wanted) <= LARGEST_BIB else None
    people, found = await store.find(api.pool, wanted, bib=bib, name=_as_name(wanted), at_most=MOST_PEOPLE)
    return Found(people=people, left_out=found - len(people))


def _as_name(wanted: str) -> str | None:
    """Return a text as a part of "first last first"; None: no name has it, a bib or a chip for instance."""
    name = " ".join(wanted.replace(",", " ").split())
    is_one = len(name) > 1 and not name.isdigit() and not _CHIP.fullmatch(name)
    return name if is_one else None


async def show_timeline(api: Api, *, path: PersonPath, query: TimelineQuery) -> Timeline:
    """Show what was read of a person in a race: crossings, the reads behind them, the course as it is for her."""
    who = await require_person(api, path)
    # Before the reads: what becomes passings in between is told as waiting, and not as if it were not there.
    waiting = await store.waiting(api.pool, path.race_id)
    passings = await store.passings_of_person(api.pool, path.race_id, who.chip_ids, at_most=MOST_PASSINGS)
    return await _timeline(api, who, passings, query, waiting)


async def require_person(api: Api, path: PersonPath) -> Person:
    """Return who has a bib; NOT_FOUND: nobody."""
    who = await store.person(api.pool, path.race_id, path.bib)
    if who is None:
        raise ApiError("NOT_FOUND", "nobody of this race has this bib")
    return who


async def show_chip_timeline(api: Api, *, path: ChipPath, query: TimelineQuery) -> Timeline:
    """Show what was read of a chip, whoever had it: over all races, streams and epochs."""
    chip_id = path.chip_id.lower()
    waiting = await store.waiting(api.pool, None)
    passings = await store.passings_of_chip(api.pool, chip_id, at_most=MOST_PASSINGS)
    return await _timeline(api, Person([chip_id]), passings, query, waiting)


async def _timeline(
    api: Api, who: Person, passings: Sequence[Passing], query: TimelineQuery, waiting: int
) -> Timeline:
    streams = list({each.stream_id for each in passings})
    places = await store.places(api.pool, who.race_id, streams)
    seen = timeline.seen(passings, places, gap=timedelta(seconds=query.gap))
    shown = timeline.few_enough(seen, most_events=MOST_EVENTS, most_reads=MOST_READS)
    reads = timeline.reads(seen, await store.reads(api.pool, shown))
    return Timeline(
        race_id=who.race_id,
        race=who.race,
        bib=who.bib,
        first_name=who.first_name,
        last_name=who.last_name,
        chip_ids=list(who.chip_ids),
        points=await _points(api, who, seen, places),
        crossings=timeline.crossings(seen),
        is_cut=len(passings) == MOST_PASSINGS,
        reads=reads,
        reads_left_out=max(sum(each.reads for each in passings) - len(reads), 0),
        waiting_events=waiting,
    )


async def _points(
    api: Api, who: Person, seen: Sequence[timeline.Seen], places: Sequence[Place]
) -> list[TimelinePoint]:
    """Return the course of her race, with what others tell of where she was not seen and where she is due."""
    if who.race_id is None:
        return []
    legs = timeline.legs(seen, places)
    pairs = [(each.since.place or 0, each.place) for each in legs]
    took = await others.travel(api.pool, who.race_id, pairs, without=who.chip_ids) if legs else {}
    expected: dict[int, tuple[timeline.Expected, datetime | None, int]] = {}
    for leg, pair in zip(legs, pairs, strict=True):
        travel = took.get(pair)
        when = None if travel is None else leg.since.at + timedelta(seconds=round(travel.median_s, 2))
        expected[leg.place] = (leg, when, 0 if travel is None else travel.others)
    missed = [(place, when) for place, (leg, when, _) in expected.items() if when and not leg.is_due]
    crowd = await others.crowd(api.pool, who.race_id, missed, without=who.chip_ids) if missed else {}
    return timeline.points(seen, places, expected, crowd)
