"""Whose chip a read is, for whoever shows or exports reads. Nothing of it is stored on an event, so a new import
renames everything at once.

The race of a read is that of the segment in which it lies, else of its epoch, else of its forwarder: yesterday's epochs
keep yesterday's names though the forwarder has another race today. `race_of_read` says it, in the database
(migrations/routines/segments.sql). Its chip's owner is looked up by the tag, the person by the owner's bib.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["NOBODY", "WHOSE", "Sighting", "Whose", "people", "whose"]

# $1 to $4: sightings, each once. Every step is a look by a key: as many as there are sightings, whatever is stored.
# The race comes first, by itself, and the rest in looks of their own: joined in one go, chips and people are looked up
# without their race, over all races, where statistics say that these are few.
WHOSE = """
WITH seen AS MATERIALIZED (
    SELECT given.*, race.race_id
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) AS given(stream_id, stream_epoch, seq, tag_id)
    CROSS JOIN LATERAL race_of_read(given.stream_id, given.stream_epoch, given.seq) AS race
)
SELECT seen.stream_id, seen.stream_epoch, seen.seq, seen.tag_id, seen.race_id, owner.bib,
       several.bib IS NOT NULL AS bib_ambiguous, person.first_name, person.last_name
FROM seen
LEFT JOIN LATERAL (
    SELECT bib FROM chips WHERE chips.race_id = seen.race_id AND chip_id = seen.tag_id AND is_owner LIMIT 1
) AS owner ON true
LEFT JOIN LATERAL (
    SELECT bib FROM chips WHERE chips.race_id = seen.race_id AND chip_id = seen.tag_id AND NOT is_owner LIMIT 1
) AS several ON true
LEFT JOIN LATERAL (
    SELECT first_name, last_name FROM participants AS one
    WHERE one.race_id = seen.race_id AND one.bib = owner.bib LIMIT 1
) AS person ON true
WHERE seen.race_id IS NOT NULL
"""


_PEOPLE = """
SELECT race_id, bib, first_name, last_name
FROM unnest($1::uuid[], $2::integer[]) AS given(race_id, bib) JOIN participants USING (race_id, bib)
"""


class Sighting(NamedTuple):
    """A read of a chip; without a tag, what only the race can be said of."""

    stream_id: UUID
    stream_epoch: int
    seq: int
    tag_id: str | None


class Whose(NamedTuple):
    """Of which race a read is, and whose: a bib without a name where the race has no such person."""

    race_id: UUID | None = None
    bib: int | None = None
    bib_ambiguous: bool = False
    first_name: str | None = None
    last_name: str | None = None


NOBODY = Whose()


async def whose(database: Statements, sightings: Collection[Sighting]) -> Mapping[Sighting, Whose]:
    """Return whose the sightings are; those of no race are left out."""
    once = list(dict.fromkeys(sightings))
    if not once:
        return {}
    columns = [[each[at] for each in once] for at in range(len(Sighting._fields))]
    with translated():
        rows = await database.fetch(WHOSE, *columns)
    return {Sighting(*row[:4]): Whose(*row[4:]) for row in map(tuple, rows)}


async def people(
    database: Statements, bibs: Collection[tuple[UUID, int]]
) -> Mapping[tuple[UUID, int], Whose]:
    """Return who has which bib of a race; bibs that nobody has are left out."""
    if not bibs:
        return {}
    with translated():
        rows = await database.fetch(_PEOPLE, [race_id for race_id, _ in bibs], [bib for _, bib in bibs])
    return {
        (row["race_id"], row["bib"]): Whose(
            row["race_id"], row["bib"], first_name=row["first_name"], last_name=row["last_name"]
        )
        for row in rows
    }
