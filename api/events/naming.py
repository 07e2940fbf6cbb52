"""Reads with the names of those whose chips they are."""

from collections.abc import Sequence

from api.events.types import Read
from api.races.names import NOBODY, Sighting, whose
from shared.db.connections import Pool

__all__ = ["named"]


async def named(pool: Pool, reads: Sequence[Read]) -> list[Read]:
    """Return the reads, each with its race and whose it is: one look, whatever their number."""
    sightings = [Sighting(each.stream_id, each.stream_epoch, each.seq, each.tag_id) for each in reads]
    found = await whose(pool, sightings)
    for read, sighting in zip(reads, sightings, strict=True):
        known = found.get(sighting, NOBODY)
        read.race_id, read.bib, read.bib_ambiguous = known.race_id, known.bib, known.bib_ambiguous
        read.first_name, read.last_name = known.first_name, known.last_name
    return list(reads)
