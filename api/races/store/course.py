"""The course of a race: its points in order, and who has come by each. Read by what the writer counts: no event is,
but where a boundary cuts an epoch."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from api.races.course_types import CoursePoint, NewPoint, PointStream
from shared.db.connections import Pool, Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "COURSE",
    "KnownPoint",
    "NoSuchRace",
    "NoSuchStream",
    "arranged_at",
    "close",
    "close_at",
    "course",
    "held",
    "point",
    "replace",
]

# $1: the race. What is of it says ranges_of_race. Whole epochs the writer has counted; of one that a boundary cuts the
# reads between are counted, and the chips by their passings. A stream without a place is a point by itself: `at` is the
# place, or the stream. Of a chip of several bibs the owner came by.
COURSE = """
WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race($1)),
standing AS MATERIALIZED (
    SELECT streams.stream_id, forwarder_id, created_at, coalesce(place::text, streams.stream_id::text) AS at,
           stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS title
    FROM streams
    LEFT JOIN point_streams AS point ON point.stream_id = streams.stream_id AND point.race_id = $1
    WHERE place IS NOT NULL
       OR streams.stream_id IN (SELECT stream_id FROM ranges)
       OR forwarder_id IN (SELECT forwarder_id FROM forwarder_races WHERE race_id = $1)
),
points AS (
    SELECT at, min(created_at) AS created_at, min(title) AS title,
           json_agg(json_build_object('stream_id', stream_id, 'forwarder_id', forwarder_id, 'title', title)
                    ORDER BY title, stream_id) AS streams
    FROM standing GROUP BY at
),
seen AS (
    SELECT at, count(DISTINCT worn.bib) AS crossed,
           count(DISTINCT tag_id) FILTER (WHERE worn.bib IS NULL) AS unknown_chips
    FROM standing
    JOIN chips_of_race($1) AS seen USING (stream_id)
    LEFT JOIN chips AS worn ON worn.race_id = $1 AND worn.chip_id = tag_id AND worn.is_owner
    GROUP BY at
),
counted AS (
    SELECT at, sum(part.reads)::bigint AS reads, max(part.last) AS last
    FROM standing
    JOIN (
        SELECT stream_id, dedup_count AS reads,
               CASE WHEN dedup_count > 0 THEN last_received_at END AS last
        FROM ranges JOIN stream_metrics USING (stream_id, stream_epoch)
        WHERE is_whole
        UNION ALL
        SELECT ranges.stream_id, found.*
        FROM ranges
        CROSS JOIN LATERAL (
            SELECT count(*), max(received_at) FROM events
            WHERE events.stream_id = ranges.stream_id AND events.stream_epoch = ranges.stream_epoch
              AND seq >= from_seq AND seq < coalesce(to_seq, 9223372036854775807)
        ) AS found
        WHERE NOT is_whole
    ) AS part USING (stream_id)
    GROUP BY at
),
named AS (SELECT *, place::text AS at FROM race_points WHERE race_id = $1)
SELECT coalesce(name, title) AS name, place, place IS NOT NULL AS placed, closed_at, closed_by, closes_at,
       closed_at IS NOT NULL OR coalesce(closes_at <= now(), false) AS is_closed,
       coalesce(streams, '[]'::json)::text AS streams,
       coalesce(crossed, 0) AS crossed, coalesce(unknown_chips, 0) AS unknown_chips,
       coalesce(reads, 0) AS reads, last AS last_received_at
FROM named FULL JOIN points USING (at) LEFT JOIN seen USING (at) LEFT JOIN counted USING (at)
ORDER BY place NULLS LAST, created_at, at
"""

_ARRANGED_AT = "SELECT course_changed_at FROM races WHERE race_id = $1"
_HOLD = f"{_ARRANGED_AT} FOR NO KEY UPDATE"
_CLEAR = "DELETE FROM race_points WHERE race_id = $1"
_POINTS = "INSERT INTO race_points (race_id, place, name) SELECT $1, * FROM unnest($2::integer[], $3::text[])"
# Streams that are gone, or never were, are left out: how many are in says whether all are.
_STREAMS = """
WITH placed AS (
    INSERT INTO point_streams (race_id, place, stream_id)
    SELECT $1, given.place, stream_id
    FROM unnest($2::integer[], $3::uuid[]) AS given(place, stream_id) JOIN streams USING (stream_id)
    RETURNING 1
)
SELECT count(*) FROM placed
"""
# Points that are closed stay so where one of their streams stands, also under another name or at another place.
_CLOSED = """
SELECT stream_id, closed_at, closed_by, closes_at
FROM race_points JOIN point_streams USING (race_id, place)
WHERE race_id = $1 AND (closed_at IS NOT NULL OR closes_at IS NOT NULL)
"""
_STAYS_CLOSED = """
UPDATE race_points AS point SET closed_at = was.closed_at, closed_by = was.closed_by, closes_at = was.closes_at
FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::timestamptz[])
         AS was(stream_id, closed_at, closed_by, closes_at)
JOIN point_streams AS stands USING (stream_id)
WHERE point.race_id = $1 AND stands.race_id = $1 AND stands.place = point.place
"""
_POINT = "SELECT name, closed_at, closed_by, closes_at FROM race_points WHERE race_id = $1 AND place = $2"
# $3: who closes it; null: it is open.
_CLOSE = """
UPDATE race_points SET closed_at = CASE WHEN $3::text IS NOT NULL THEN clock_timestamp() END, closed_by = $3
WHERE race_id = $1 AND place = $2
"""
_CLOSES_AT = "UPDATE race_points SET closes_at = $3 WHERE race_id = $1 AND place = $2"
_CHANGED = "UPDATE races SET course_changed_at = clock_timestamp() WHERE race_id = $1"


class NoSuchRace(Exception):
    """There is no race of this id."""


class KnownPoint(NamedTuple):
    """A point as it is, and since when nobody is expected there, by whose word."""

    name: str
    closed_at: datetime | None
    closed_by: str | None
    closes_at: datetime | None


class NoSuchStream(Exception):
    """One of the streams is not there."""


async def course(pool: Pool, race_id: UUID) -> list[CoursePoint]:
    """Return the points of a race in course order, those without a place behind them."""
    with translated():
        rows = await pool.fetch(COURSE, race_id)
    return [_point(**row) for row in rows]


def _point(*, streams: str, **fields: Any) -> CoursePoint:
    found = [
        PointStream(**{**each, "stream_id": UUID(each["stream_id"])}, seen=None, of_chips=None)
        for each in orjson.loads(streams)
    ]
    return CoursePoint(streams=found, due_per_minute=None, **fields)


async def point(connection: Transaction, race_id: UUID, place: int) -> KnownPoint | None:
    """Return a point of a race that is held; None: there is none at this place."""
    with translated():
        row = await connection.fetchrow(_POINT, race_id, place)
    return None if row is None else KnownPoint(**row)


async def close(connection: Transaction, race_id: UUID, place: int, *, by: str | None) -> None:
    """Expect nobody at a point of a race that is held any more; by: who says so, None: it is open."""
    with translated():
        await connection.execute(_CLOSE, race_id, place, by)
        await connection.execute(_CHANGED, race_id)


async def close_at(connection: Transaction, race_id: UUID, place: int, at: datetime | None) -> None:
    """Expect nobody at a point of a race that is held from a time on."""
    with translated():
        await connection.execute(_CLOSES_AT, race_id, place, at)
        await connection.execute(_CHANGED, race_id)


async def arranged_at(pool: Pool, race_id: UUID) -> datetime | None:
    """Return when the points of a race were arranged last; None: never. NoSuchRace."""
    return await _one(pool, _ARRANGED_AT, race_id)


async def held(connection: Transaction, race_id: UUID) -> datetime | None:
    """The same, which stays so until the transaction ends."""
    return await _one(connection, _HOLD, race_id)


async def _one(database: Statements, statement: str, race_id: UUID) -> datetime | None:
    with translated():
        row = await database.fetchrow(statement, race_id)
    if row is None:
        raise NoSuchRace
    at: datetime | None = row["course_changed_at"]
    return at


async def replace(connection: Transaction, race_id: UUID, points: Sequence[NewPoint]) -> None:
    """Let the course of a race that is held have these points and no others. NoSuchStream: nothing may be kept."""
    at = [(place, stream_id) for place, point in enumerate(points, 1) for stream_id in point.stream_ids]
    places, streams = [place for place, _ in at], [stream_id for _, stream_id in at]
    with translated():
        closed = [list(column) for column in zip(*await connection.fetch(_CLOSED, race_id), strict=True)]
        await connection.execute(_CLEAR, race_id)
        numbers = list(range(1, len(points) + 1))
        await connection.execute(_POINTS, race_id, numbers, [point.name for point in points])
        if await connection.fetchval(_STREAMS, race_id, places, streams) < len(at):
            raise NoSuchStream
        if closed:
            await connection.execute(_STAYS_CLOSED, race_id, *closed)
        await connection.execute(_CHANGED, race_id)
