"""Which reads a certificate is of, as pieces of epochs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

from api.certificate.types import Rule
from shared.db.connections import Pool, Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "Part",
    "Point",
    "RaceName",
    "known_streams",
    "parts_of_race",
    "parts_of_streams",
    "points_of_race",
    "race",
    "snapshot",
]

_RACE = "SELECT race_id, name FROM races WHERE race_id = $1"
_KNOWN = "SELECT stream_id FROM streams WHERE stream_id = ANY($1::uuid[])"

# A piece of the race's, by migrations/routines/segments.sql; and what it had of epochs that were emptied since, whose
# counts are gone, so that nothing there names them. Of a forwarder's current epoch nobody has said that it must have
# a read, so one that has and had none is left out; one that was given to the race is not.
_OF_RACE = """
WITH ranges AS (
    SELECT stream_id, stream_epoch, from_seq, to_seq, rule FROM ranges_of_race($1)
    UNION
    SELECT emptied.stream_id, emptied.stream_epoch, piece.from_seq, piece.to_seq, piece.rule
    FROM (SELECT DISTINCT changes.stream_id, changes.stream_epoch
          FROM race_segments AS segment
          JOIN event_changes AS changes
              ON changes.stream_id = segment.stream_id
             AND changes.stream_epoch BETWEEN segment.from_epoch AND coalesce(segment.to_epoch, 9223372036854775807)
          WHERE segment.race_id = $1) AS emptied
    CROSS JOIN LATERAL ranges_of_epoch(emptied.stream_id, emptied.stream_epoch) AS piece
    WHERE piece.race_id = $1
)
SELECT streams.stream_id, ranges.stream_epoch, from_seq, to_seq, rule
FROM ranges
JOIN streams USING (stream_id)
LEFT JOIN point_streams AS placed ON placed.race_id = $1 AND placed.stream_id = streams.stream_id
WHERE rule <> 'forwarder'
   OR EXISTS (SELECT FROM stream_metrics AS counted
              WHERE counted.stream_id = ranges.stream_id AND counted.stream_epoch = ranges.stream_epoch)
   OR EXISTS (SELECT FROM event_changes AS changes
              WHERE changes.stream_id = ranges.stream_id AND changes.stream_epoch = ranges.stream_epoch)
ORDER BY placed.place NULLS LAST, streams.created_at, streams.stream_id, ranges.stream_epoch, from_seq
LIMIT $2
"""

# $2: epochs, or null for all that hold or held reads.
_OF_STREAMS = """
SELECT streams.stream_id, wanted.stream_epoch, 1 AS from_seq, NULL::bigint AS to_seq, 'asked' AS rule
FROM streams
CROSS JOIN LATERAL (
    SELECT unnest($2::bigint[]) AS stream_epoch
    UNION
    SELECT stream_epoch FROM stream_metrics AS counted
    WHERE counted.stream_id = streams.stream_id AND $2::bigint[] IS NULL
    UNION
    SELECT stream_epoch FROM event_changes AS changes
    WHERE changes.stream_id = streams.stream_id AND stream_epoch > 0 AND $2::bigint[] IS NULL
) AS wanted
WHERE streams.stream_id = ANY($1::uuid[])
ORDER BY streams.created_at, streams.stream_id, wanted.stream_epoch
LIMIT $3
"""

# In course order, each with its streams.
_POINTS = """
SELECT points.name, array_remove(array_agg(placed.stream_id), NULL) AS stream_ids
FROM race_points AS points
LEFT JOIN point_streams AS placed ON placed.race_id = points.race_id AND placed.place = points.place
WHERE points.race_id = $1
GROUP BY points.place, points.name
ORDER BY points.place
"""


class RaceName(NamedTuple):
    """A race, and how it is called."""

    race_id: UUID
    name: str


class Part(NamedTuple):
    """Reads of one epoch of a stream, from one up to and without another (null: to its end), and what says so."""

    stream_id: UUID
    stream_epoch: int
    from_seq: int
    to_seq: int | None
    rule: Rule

    @property
    def is_whole(self) -> bool:
        """Whether all of the epoch is in it."""
        return self.from_seq == 1 and self.to_seq is None

    def has(self, first: int, last: int) -> bool:
        """Whether all of first..last is in it."""
        return self.from_seq <= first and (self.to_seq is None or last < self.to_seq)


class Point(NamedTuple):
    """A point of a course, and the streams that stand there."""

    name: str
    stream_ids: list[UUID]


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Transaction]:
    """Yield a connection that reads everything as of one moment."""
    with translated():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


async def race(database: Statements, race_id: UUID) -> RaceName | None:
    """Return a race; None: there is none."""
    with translated():
        row = await database.fetchrow(_RACE, race_id)
    return None if row is None else RaceName(*row)


async def known_streams(database: Statements, stream_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these streams there are."""
    with translated():
        return {row["stream_id"] for row in await database.fetch(_KNOWN, stream_ids)}


async def parts_of_race(database: Statements, race_id: UUID, *, most: int) -> list[Part]:
    """Return up to `most` pieces of epochs that are of a race, in course order."""
    with translated():
        return [Part(*row) for row in await database.fetch(_OF_RACE, race_id, most)]


async def parts_of_streams(
    database: Statements, stream_ids: Sequence[UUID], epochs: Sequence[int] | None, *, most: int
) -> list[Part]:
    """Return up to `most` epochs of streams, whole."""
    with translated():
        return [Part(*row) for row in await database.fetch(_OF_STREAMS, stream_ids, epochs, most)]


async def points_of_race(database: Statements, race_id: UUID) -> list[Point]:
    """Return the points of a race that people have named, in course order."""
    with translated():
        return [Point(*row) for row in await database.fetch(_POINTS, race_id)]
