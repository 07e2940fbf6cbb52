"""Which reads a certificate is of, as pieces of epochs."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.certificate.types import Rule
from shared.db.connections import Pool, Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "Others",
    "Part",
    "Point",
    "RaceName",
    "others",
    "parts_of_race",
    "parts_of_streams",
    "points_of_race",
    "race",
    "snapshot",
    "titles",
]

_RACE = "SELECT race_id, name FROM races WHERE race_id = $1"
_TITLES = """
SELECT stream_id, stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names()))
FROM streams WHERE stream_id = ANY($1::uuid[]) ORDER BY created_at, stream_id
"""

# A piece of the race's, by migrations/routines/segments.sql; what it had of epochs that were emptied since, whose
# counts are gone, so that nothing there names them; and epochs of which reads wait ($3 streams, $4 epochs): the first
# of an epoch, so that nothing but the inbox knows of it. Of a forwarder's current epoch nobody has said that it must
# have a read, so one that has and had none is left out; one that was given to the race is not.
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
    UNION
    SELECT waits.stream_id, waits.stream_epoch, piece.from_seq, piece.to_seq, piece.rule
    FROM unnest($3::uuid[], $4::bigint[]) AS waits(stream_id, stream_epoch)
    JOIN streams USING (stream_id)
    CROSS JOIN LATERAL ranges_of_epoch(waits.stream_id, waits.stream_epoch) AS piece
    WHERE piece.race_id = $1 AND (piece.rule <> 'forwarder' OR waits.stream_epoch >= streams.stream_epoch)
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
   OR EXISTS (SELECT FROM unnest($3::uuid[], $4::bigint[]) AS waits(stream_id, stream_epoch)
              WHERE waits.stream_id = ranges.stream_id AND waits.stream_epoch = ranges.stream_epoch)
ORDER BY placed.place NULLS LAST, streams.created_at, streams.stream_id, ranges.stream_epoch, from_seq
LIMIT $2
"""

# $2: epochs, or null for all that hold or held reads, or of which reads wait ($4 streams, $5 epochs).
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
    UNION
    SELECT waits.stream_epoch FROM unnest($4::uuid[], $5::bigint[]) AS waits(stream_id, stream_epoch)
    WHERE waits.stream_id = streams.stream_id AND $2::bigint[] IS NULL
) AS wanted
WHERE streams.stream_id = ANY($1::uuid[])
ORDER BY streams.created_at, streams.stream_id, wanted.stream_epoch
LIMIT $3
"""

# In course order, each with its streams but for memories of readers, which nobody expects anything of. That a point's
# time is over (closes_at) says nothing of what was due before: only who has closed it has said something of it.
_POINTS = """
SELECT points.name, array_remove(array_agg(streams.stream_id), NULL) AS stream_ids, points.closed_by
FROM race_points AS points
LEFT JOIN point_streams AS placed ON placed.race_id = points.race_id AND placed.place = points.place
LEFT JOIN streams ON streams.stream_id = placed.stream_id AND NOT is_memory(streams.reader_ip)
WHERE points.race_id = $1
GROUP BY points.place, points.name, points.closed_by
ORDER BY points.place
"""

# Of these streams ($1) the epochs with reads that are of no race, beside those that are certified ($2 streams, $3
# epochs): a reset in the middle of a race leaves one behind, if nobody had given it to the race.
_OTHERS = """
SELECT streams.stream_id, array_agg(counted.stream_epoch ORDER BY counted.stream_epoch) AS stream_epochs,
       sum(counted.dedup_count)::bigint AS read_count, max(counted.last_received_at) AS last_received_at
FROM streams
JOIN stream_metrics AS counted USING (stream_id)
WHERE streams.stream_id = ANY($1::uuid[]) AND counted.dedup_count > 0
  AND NOT EXISTS (SELECT FROM unnest($2::uuid[], $3::bigint[]) AS part(stream_id, stream_epoch)
                  WHERE part.stream_id = streams.stream_id AND part.stream_epoch = counted.stream_epoch)
  AND EXISTS (SELECT FROM ranges_of_epoch(streams.stream_id, counted.stream_epoch) AS piece
              WHERE piece.rule = 'forwarder'
                AND (piece.race_id IS NULL OR counted.stream_epoch <> streams.stream_epoch))
GROUP BY streams.stream_id, streams.created_at
ORDER BY streams.created_at, streams.stream_id
"""

# Streams and epochs.
Epochs = Collection[tuple[UUID, int]]


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
    """A point of a course, the streams that stand there, and who has closed it."""

    name: str
    stream_ids: list[UUID]
    closed_by: str | None


class Others(NamedTuple):
    """Epochs of a stream that hold reads and are of no race."""

    stream_id: UUID
    stream_epochs: list[int]
    read_count: int
    last_received_at: datetime


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


async def titles(database: Statements, stream_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return how people call those of these streams that there are."""
    with translated():
        return dict(map(tuple, await database.fetch(_TITLES, stream_ids)))


async def others(database: Statements, parts: Sequence[Part]) -> list[Others]:
    """Return what else the streams of these parts hold that is of no race."""
    of, epochs = _unzipped([(each.stream_id, each.stream_epoch) for each in parts])
    with translated():
        return [Others(*row) for row in await database.fetch(_OTHERS, of, of, epochs)]


def _unzipped(epochs: Epochs) -> tuple[list[UUID], list[int]]:
    return [stream_id for stream_id, _ in epochs], [epoch for _, epoch in epochs]


async def parts_of_race(database: Statements, race_id: UUID, waiting: Epochs, *, most: int) -> list[Part]:
    """Return up to `most` pieces of epochs that are of a race, in course order. waiting: of which reads wait."""
    with translated():
        return [Part(*row) for row in await database.fetch(_OF_RACE, race_id, most, *_unzipped(waiting))]


async def parts_of_streams(
    database: Statements,
    stream_ids: Sequence[UUID],
    epochs: Sequence[int] | None,
    waiting: Epochs,
    *,
    most: int,
) -> list[Part]:
    """Return up to `most` epochs of streams, whole. waiting: of which reads wait."""
    asked = (stream_ids, epochs, most, *_unzipped(waiting))
    with translated():
        return [Part(*row) for row in await database.fetch(_OF_STREAMS, *asked)]


async def points_of_race(database: Statements, race_id: UUID) -> list[Point]:
    """Return the points of a race that people have named, in course order."""
    with translated():
        return [Point(*row) for row in await database.fetch(_POINTS, race_id)]
