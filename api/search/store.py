"""Who is whom, and what was read of somebody: by the rosters, and by passings, which are made behind the drain. Of
events only those are looked at that passings name, and the few that are not in passings yet.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from api.crossings.crossing import Passing, ReadAt
from api.crossings.cut import newest_of_chip
from api.passings.waiting import waiting_events
from api.search.types import FoundPerson
from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = [
    "FIND",
    "MOST_WAITING",
    "OF_CHIP",
    "OF_PERSON",
    "READS",
    "Person",
    "Place",
    "find",
    "passings_of_chip",
    "passings_of_person",
    "person",
    "places",
    "reads",
    "waiting",
]

# So many events that are not in passings yet are looked through, of all streams that matter.
MOST_WAITING = 2_000

# $1: what is looked for, in lower case, $2: the same as a bib, $3: as a part of a name, first or last name first; null
# where it is none; $4: so many. By bib and by chip along the keys, whatever the races; by name everybody is looked at,
# in one pass, and whoever that finds is not looked up a second time: of two letters it finds most.
FIND = """
WITH matched AS MATERIALIZED (
    SELECT race_id, bib FROM participants WHERE bib = $2
    UNION SELECT race_id, bib FROM chips WHERE bib = $2 AND is_owner
    UNION SELECT race_id, bib FROM chips WHERE chip_id = $1 AND is_owner
),
all_of_them AS MATERIALIZED (
    SELECT race_id, bib, first_name, last_name, 0 AS rank
    FROM matched LEFT JOIN participants USING (race_id, bib)
    UNION ALL
    SELECT race_id, bib, first_name, last_name, 1 FROM participants
    WHERE position($3 IN sought) > 0 AND (race_id, bib) NOT IN (SELECT race_id, bib FROM matched)
),
shown AS (
    SELECT all_of_them.*, races.name AS race, races.created_at
    FROM all_of_them JOIN races USING (race_id)
    ORDER BY rank, races.created_at DESC, last_name, first_name, bib
    LIMIT $4
)
SELECT race_id, race, bib, first_name, last_name,
       ARRAY(SELECT chip_id FROM chips
             WHERE chips.race_id = shown.race_id AND chips.bib = shown.bib AND is_owner ORDER BY line) AS chip_ids,
       (SELECT count(*) FROM all_of_them) AS found
FROM shown
ORDER BY rank, created_at DESC, last_name, first_name, bib
"""
_IS_READ = "SELECT EXISTS (SELECT FROM passings WHERE tag_id = $1)"

_PERSON = """
SELECT race_id, name AS race, first_name, last_name, bib,
       ARRAY(SELECT chip_id FROM chips
             WHERE chips.race_id = $1 AND chips.bib = $2 AND is_owner ORDER BY line) AS chip_ids
FROM races LEFT JOIN participants USING (race_id)
WHERE race_id = $1 AND bib = $2
UNION ALL
SELECT race_id, name, NULL, NULL, $2, ARRAY(SELECT chip_id FROM chips
             WHERE chips.race_id = $1 AND chips.bib = $2 AND is_owner ORDER BY line)
FROM races
WHERE race_id = $1 AND NOT EXISTS (SELECT FROM participants WHERE race_id = $1 AND bib = $2)
  AND EXISTS (SELECT FROM chips WHERE race_id = $1 AND bib = $2 AND is_owner)
"""

# What chips left ($1): passings, and reads that are none yet, each as one by itself: merged into crossings both are the
# same. Where more wait than are looked through ($2) none of them is, and the answer says how many wait.


def _waiting(of: str = "true") -> str:
    """Return what selects the streams, of some, that have more than is in passings, and how much."""
    return f"""
waiting AS MATERIALIZED (
    SELECT streams.stream_id, coalesce(progress.position, 0) AS position,
           last_position - coalesce(progress.position, 0) AS events
    FROM streams LEFT JOIN passings_progress AS progress USING (stream_id)
    WHERE last_position > coalesce(progress.position, 0) AND {of}
)
"""  # noqa: S608 - of constants only


def _reads_waiting(*, within: str = "") -> str:
    """Return what selects the reads that wait, as passings; within: what these are joined to."""
    return f"""
    SELECT waiting.stream_id, event.stream_epoch, event.tag_id, event.read_at AS first_read_at,
           event.seq AS first_seq, event.read_at AS last_read_at, event.seq AS last_seq, event.seq AS low_seq,
           event.seq AS high_seq, 1 AS reads, event.position
    FROM waiting
    CROSS JOIN LATERAL (
        SELECT stream_epoch, tag_id, read_at, seq, events.position FROM events
        WHERE events.stream_id = waiting.stream_id AND events.position > waiting.position
        ORDER BY events.position
        LIMIT waiting.events
    ) AS event
    {within}
    WHERE event.tag_id = ANY($1::text[]) AND event.read_at IS NOT NULL
      AND (SELECT sum(events) FROM waiting) <= $2
"""  # noqa: S608 - of constants only


# $3: so many passings, the newest, $4: the race.
OF_PERSON = f"""
WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race($4)),
{_waiting("stream_id IN (SELECT stream_id FROM ranges)")}
SELECT found.* FROM (
    SELECT ours.*
    FROM ranges
    CROSS JOIN unnest($1::text[]) AS worn(tag_id)
    CROSS JOIN LATERAL (
        {newest_of_chip("ranges", "worn.tag_id", "$3")}
    ) AS ours
    UNION ALL
    {
    _reads_waiting(
        within='''
    JOIN ranges ON ranges.stream_id = waiting.stream_id AND ranges.stream_epoch = event.stream_epoch
        AND event.seq >= ranges.from_seq AND (ranges.to_seq IS NULL OR event.seq < ranges.to_seq)
'''
    )
}
) AS found
ORDER BY found.first_read_at DESC, found.stream_id DESC, found.stream_epoch DESC, found.first_seq DESC
LIMIT $3
"""  # noqa: S608 - of constants only
OF_CHIP = f"""
WITH {_waiting()}
SELECT * FROM (SELECT * FROM passings WHERE tag_id = ANY($1::text[]) ORDER BY first_read_at DESC LIMIT $3) AS found
UNION ALL
{_reads_waiting()}
"""  # noqa: S608 - of constants only
# $1: the race, $2: streams that somebody was seen at. Points without a stream are there, too.
_PLACES = """
SELECT place, name, stream_id
FROM race_points LEFT JOIN point_streams USING (race_id, place) WHERE race_id = $1
UNION ALL
SELECT NULL, stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())), stream_id
FROM streams
WHERE stream_id = ANY($2::uuid[])
  AND NOT EXISTS (SELECT FROM point_streams AS point WHERE point.race_id = $1 AND point.stream_id = streams.stream_id)
ORDER BY place NULLS LAST
"""

# $1 to $5: passings, by stream, epoch, chip and the numbers between which their reads lie, beside reads of others.
READS = """
SELECT read.*
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
    AS passing(stream_id, stream_epoch, tag_id, low_seq, high_seq)
CROSS JOIN LATERAL (
    SELECT read_at, stream_id, stream_epoch, seq, tag_id FROM events
    WHERE events.stream_id = passing.stream_id AND events.stream_epoch = passing.stream_epoch
      AND events.seq >= passing.low_seq AND events.seq <= passing.high_seq
    ORDER BY events.seq
) AS read
WHERE read.tag_id = passing.tag_id AND read.read_at IS NOT NULL
"""


class Person(NamedTuple):
    """Somebody: of a race, or a chip that nobody is said to have."""

    chip_ids: Sequence[str]
    race_id: UUID | None = None
    race: str | None = None
    bib: int | None = None
    first_name: str | None = None
    last_name: str | None = None


class Place(NamedTuple):
    """A stream and where it stands; or a point without one."""

    place: int | None
    name: str
    stream_id: UUID | None


async def find(
    pool: Pool, wanted: str, *, bib: int | None, name: str | None, at_most: int
) -> tuple[list[FoundPerson], int]:
    """Return who a text means, and how many these would be if they were not cut."""
    with translated():
        rows = await pool.fetch(FIND, wanted, bib, name, at_most)
        is_read = await pool.fetchval(_IS_READ, wanted)
    people = [FoundPerson(**{name: row[name] for name in FoundPerson.__struct_fields__}) for row in rows]
    if is_read:
        nobody = dict.fromkeys(("race_id", "race", "bib", "first_name", "last_name"))
        people.append(FoundPerson(**nobody, chip_ids=[wanted]))
    return people, max((row["found"] for row in rows), default=0) + bool(is_read)


async def person(pool: Pool, race_id: UUID, bib: int) -> Person | None:
    """Return who has a bib, with or without a name; None: nobody."""
    with translated():
        row = await pool.fetchrow(_PERSON, race_id, bib)
    return None if row is None else Person(**row)


async def passings_of_person(
    pool: Pool, race_id: UUID, chip_ids: Sequence[str], *, at_most: int
) -> list[Passing]:
    """Return what somebody left in a race, in no order."""
    with translated():
        rows = await pool.fetch(OF_PERSON, chip_ids, MOST_WAITING, at_most, race_id)
    return [Passing(*row) for row in rows]


async def passings_of_chip(pool: Pool, chip_id: str, *, at_most: int) -> list[Passing]:
    """Return what a chip left, wherever that was, in no order."""
    with translated():
        rows = await pool.fetch(OF_CHIP, [chip_id], MOST_WAITING, at_most)
    return [Passing(*row) for row in rows]


async def waiting(pool: Pool, race_id: UUID | None) -> int:
    """Return how many events are stored of which nobody can say whose they are yet; few are looked through: 0."""
    found = await waiting_events(pool, race_id)
    return found if found > MOST_WAITING else 0


async def places(pool: Pool, race_id: UUID | None, streams: Sequence[UUID]) -> list[Place]:
    """Return the points of a race in course order, and streams beside them that stand at none."""
    with translated():
        rows = await pool.fetch(_PLACES, race_id, streams)
    return [Place(**row) for row in rows]


async def reads(pool: Pool, passings: Sequence[Passing]) -> list[tuple[ReadAt, str]]:
    """Return the reads of passings, each with its chip, in no order."""
    with translated():
        rows = await pool.fetch(
            READS,
            [each.stream_id for each in passings],
            [each.stream_epoch for each in passings],
            [each.tag_id for each in passings],
            [each.low_seq for each in passings],
            [each.high_seq for each in passings],
        )
    return [(ReadAt(*list(row)[:4]), row["tag_id"]) for row in rows]
