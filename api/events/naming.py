"""Reads with the names of those whose chips they are, with what they say of where these have been, and with the times
at which they were really made.
"""

from collections.abc import Sequence

from api.clocks.corrected import Dated, made_at
from api.crossings.crossing import ReadAt
from api.crossings.visits import NOTHING, Person, visits
from api.events.types import Read
from api.races.names import NOBODY, Sighting, whose
from shared.db.connections import Pool

__all__ = ["named"]


async def named(pool: Pool, reads: Sequence[Read], *, corrected: bool = False) -> list[Read]:
    """Return the reads, each with its race and whose it is, whether it is the first of somebody at its point, and, if
    asked, when it was really made: a look for each of these, whatever their number.
    """
    sightings = [Sighting(each.stream_id, each.stream_epoch, each.seq, each.tag_id) for each in reads]
    found = await whose(pool, sightings)
    for read, sighting in zip(reads, sightings, strict=True):
        known = found.get(sighting, NOBODY)
        read.race_id, read.bib, read.bib_ambiguous = known.race_id, known.bib, known.bib_ambiguous
        read.first_name, read.last_name = known.first_name, known.last_name
    keyed = [(read, key) for read in reads if (key := _key(read)) is not None]
    said = await visits(pool, [key for _, key in keyed])
    for read, key in keyed:
        read.visit, read.point_before, read.since_point_before_ms = said.get(key, NOTHING)
    if corrected:
        dated = [Dated(each.stream_id, each.read_at, each.received_at) for each in reads]
        for read, at in zip(reads, await made_at(pool, dated), strict=True):
            read.corrected_at = at
    return list(reads)


def _key(read: Read) -> tuple[Person, ReadAt] | None:
    if read.race_id is None or read.bib is None or read.read_at is None:
        return None
    return Person(read.race_id, read.bib), ReadAt(read.read_at, read.stream_id, read.stream_epoch, read.seq)
