"""What receivers have of each stream and epoch, as far as they have acked it.

A cursor's row is made when a session begins with an epoch (last_seq 0: nothing is acked yet), and acks only update it,
by its cursor_id. So a deletion, by whom and how ever, makes all acks void that were given before it: they find no row,
and whoever holds the id begins anew with the stream.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

import asyncpg
import orjson

from fanout.delivery import NOTHING, Cursor, EpochState
from shared.database import Pool
from shared.errors import DatabaseRefused, DatabaseUnavailable, RtServerError, translated

__all__ = [
    "CursorKey",
    "RowLocked",
    "StartingPoint",
    "advance_cursors",
    "begin_epochs",
    "gone_cursors",
    "starting_points",
]


# Each time another session must have made a row in between.
BEGIN_ATTEMPTS = 3


class RowLocked(RtServerError):
    """Somebody else holds a row that we need, and goes on holding it."""


class CursorKey(NamedTuple):
    """A cursor, by its row, and the stream that it belongs to."""

    stream_id: UUID
    cursor_id: int


class StartingPoint(NamedTuple):
    """Of one snapshot: newest position, the stream's epochs, and the rows that acks of each move."""

    last_position: int
    epochs: dict[int, EpochState]
    cursor_ids: dict[int, int]


# A cursor beyond what is stored (a restored backup) is void: left in place it would count again as soon as as much is
# stored. It begins again under another id, so that no ack of before counts. $3: the receiver's resumes, as JSON by
# stream and epoch. A row of the release before has no position: up to the one of its last_seq it had delivered. Where
# the list of gaps is full (stream_metrics.missing), nobody can tell how many events lie above a number.
#
# Each row is looked up in a form that only its key can serve, for each of the named streams: a plan that begins from
# another side goes through all streams for one receiver (routines/drain.sql says why).
_STARTING_POINTS = """
WITH void AS (
    DELETE FROM receiver_cursors AS cursors
    WHERE receiver_id = $1 AND stream_id = ANY($2::uuid[])
      AND (SELECT epoch.stream_epoch FROM stream_metrics AS epoch
           WHERE epoch.stream_id = cursors.stream_id
             AND epoch.stream_epoch >= cursors.stream_epoch AND epoch.stream_epoch <= cursors.stream_epoch
           ORDER BY epoch.stream_epoch DESC LIMIT 1) IS NULL
),
found AS MATERIALIZED (
    SELECT stream.stream_id, stream.last_position, epoch.stream_epoch, epoch.counted, known.cursor_id,
           known.last_seq AS acked, known.position, known.event_count AS acked_count
    FROM unnest($2::uuid[]) AS named(stream_id)
    CROSS JOIN LATERAL (
        SELECT stream_id, last_position FROM streams
        WHERE streams.stream_id >= named.stream_id AND streams.stream_id <= named.stream_id
        ORDER BY streams.stream_id DESC LIMIT 1
    ) AS stream
    LEFT JOIN LATERAL (
        SELECT metrics.stream_epoch, metrics AS counted FROM stream_metrics AS metrics
        WHERE metrics.stream_id = stream.stream_id
        ORDER BY metrics.stream_epoch
        OFFSET 0
    ) AS epoch ON true
    LEFT JOIN LATERAL (
        SELECT cursors.* FROM receiver_cursors AS cursors
        WHERE cursors.receiver_id = $1 AND cursors.stream_id = stream.stream_id
          AND cursors.stream_epoch >= epoch.stream_epoch AND cursors.stream_epoch <= epoch.stream_epoch
        ORDER BY cursors.stream_epoch DESC LIMIT 1
    ) AS known ON true
),
begun AS (
    INSERT INTO receiver_cursors AS cursors (receiver_id, stream_id, stream_epoch, last_seq, position, event_count)
    SELECT $1, stream_id, stream_epoch, 0, 0, 0
    FROM found
    WHERE stream_epoch IS NOT NULL
      AND (cursor_id IS NULL OR acked > (counted).last_seq OR position > last_position)
    ORDER BY stream_id, stream_epoch
    ON CONFLICT (receiver_id, stream_id, stream_epoch) DO UPDATE
    SET cursor_id = DEFAULT, last_seq = 0, position = 0, event_count = 0, updated_at = now()
    WHERE cursors.last_seq > (SELECT epoch.last_seq FROM stream_metrics AS epoch
                              WHERE epoch.stream_id = cursors.stream_id AND epoch.stream_epoch = cursors.stream_epoch)
       OR cursors.position > (SELECT last_position FROM streams WHERE streams.stream_id = cursors.stream_id)
    RETURNING stream_id, stream_epoch, cursor_id
),
standing AS (
    SELECT found.stream_id, last_position, found.stream_epoch, counted,
           coalesce(begun.cursor_id, found.cursor_id) AS cursor_id,
           CASE WHEN begun.cursor_id IS NULL THEN acked END AS acked,
           CASE WHEN begun.cursor_id IS NULL THEN position END AS position,
           CASE WHEN begun.cursor_id IS NULL THEN acked_count END AS acked_count
    FROM found
    LEFT JOIN begun ON begun.stream_id = found.stream_id AND begun.stream_epoch = found.stream_epoch
)
SELECT stream_id, last_position, stream_epoch, (counted).last_seq AS last_seq,
       CASE WHEN numbers_in((counted).missing) = (counted).last_seq - (counted).dedup_count
            THEN (counted).dedup_count END AS event_count,
       cursor_id,
       coalesce(acked, 0) AS acked,
       coalesce(position, (SELECT event.position FROM events AS event
                           WHERE event.stream_id = standing.stream_id AND event.stream_epoch = standing.stream_epoch
                             AND event.seq >= standing.acked AND event.seq <= standing.acked
                           ORDER BY event.seq DESC LIMIT 1), 0) AS position,
       acked_count,
       events_above(counted, coalesce(acked, 0)) AS above_cursor,
       resumed.last_seq AS resume,
       coalesce(events_above(counted, resumed.last_seq), 0) AS above_resume
FROM standing
LEFT JOIN LATERAL (
    SELECT ($3::jsonb #>> ARRAY[standing.stream_id::text, standing.stream_epoch::text])::bigint AS last_seq
) AS resumed ON true
"""

# The row first, then the first event of the epoch: an ack must find it.
_BEGIN_EPOCHS = """
WITH begun AS (
    INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq, position, event_count)
    SELECT $1, stream_id, epoch, 0, 0, 0
    FROM streams CROSS JOIN unnest($3::bigint[]) AS epoch
    WHERE stream_id = $2
    ORDER BY epoch
    ON CONFLICT (receiver_id, stream_id, stream_epoch) DO NOTHING
    RETURNING stream_epoch, cursor_id
)
SELECT stream_epoch, cursor_id FROM begun
UNION ALL
SELECT stream_epoch, cursor_id FROM receiver_cursors
WHERE receiver_id = $1 AND stream_id = $2 AND stream_epoch = ANY($3::bigint[])
"""

# A pair is written whole, and only where neither number falls: of two sessions of one receiver, (100, 100) of one and
# (50, 200) of the other do not make (100, 200). Locked in the order of their ids, so that two nodes never wait for each
# other in a circle. Returned are those that are there no more.
_ADVANCE = """
WITH moved AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
        AS moved(cursor_id, last_seq, position, event_count)
),
held AS MATERIALIZED (
    SELECT cursor_id FROM receiver_cursors WHERE cursor_id = ANY($1::bigint[])
    ORDER BY cursor_id
    FOR NO KEY UPDATE
),
written AS (
    UPDATE receiver_cursors AS cursors
    SET last_seq = moved.last_seq, position = moved.position, event_count = moved.event_count, updated_at = now()
    FROM moved
    WHERE cursors.cursor_id = moved.cursor_id AND moved.cursor_id IN (SELECT cursor_id FROM held)
      AND moved.last_seq >= cursors.last_seq AND moved.position >= coalesce(cursors.position, 0)
)
SELECT cursor_id FROM moved WHERE cursor_id NOT IN (SELECT cursor_id FROM held)
"""

_GONE = """
SELECT cursor_id FROM unnest($1::bigint[]) AS held(cursor_id)
WHERE (SELECT cursors.cursor_id FROM receiver_cursors AS cursors
       WHERE cursors.cursor_id >= held.cursor_id AND cursors.cursor_id <= held.cursor_id
       ORDER BY cursors.cursor_id DESC LIMIT 1) IS NULL
"""


async def starting_points(
    pool: Pool, receiver_id: str, resumes: Mapping[UUID, Mapping[int, int]]
) -> dict[UUID, StartingPoint]:
    """Return where a receiver stands in each of the streams that still exist, and make the rows that acks will move.

    resumes: for each stream what the receiver says itself, last_seq by epoch.
    """
    named = {
        str(stream_id): {str(epoch): seq for epoch, seq in of.items()} for stream_id, of in resumes.items()
    }
    for _ in range(BEGIN_ATTEMPTS):
        with translated():
            rows = await pool.fetch(
                _STARTING_POINTS, receiver_id, list(resumes), orjson.dumps(named).decode()
            )
        # Rows that another session of the receiver made meanwhile were waited for, and are not in our snapshot.
        if all(row["cursor_id"] is not None for row in rows if row["stream_epoch"] is not None):
            return _points(rows)
    raise DatabaseUnavailable("other sessions of this receiver begin with the same streams all the time")


def _points(rows: Iterable[asyncpg.Record]) -> dict[UUID, StartingPoint]:
    found: dict[UUID, StartingPoint] = {}
    for row in rows:
        point = found.setdefault(row["stream_id"], StartingPoint(row["last_position"], {}, {}))
        epoch = row["stream_epoch"]
        if epoch is None:
            continue
        point.cursor_ids[epoch] = row["cursor_id"]
        point.epochs[epoch] = EpochState(
            row["last_seq"],
            row["event_count"],
            Cursor(row["acked"], row["position"], row["acked_count"]) if row["acked"] else NOTHING,
            row["above_cursor"],
            row["resume"],
            row["above_resume"],
        )
    return found


async def begin_epochs(
    pool: Pool, receiver_id: str, stream_id: UUID, epochs: Collection[int]
) -> dict[int, int]:
    """Make the rows that acks of these epochs will move and return their ids by epoch; none of a deleted stream."""
    try:
        with translated():
            rows = await pool.fetch(_BEGIN_EPOCHS, receiver_id, stream_id, list(epochs))
    except DatabaseRefused as error:
        if isinstance(error.__cause__, asyncpg.ForeignKeyViolationError):
            raise DatabaseUnavailable("the stream is being deleted") from error
        raise
    return {row["stream_epoch"]: row["cursor_id"] for row in rows}


async def advance_cursors(pool: Pool, cursors: Mapping[CursorKey, Cursor]) -> list[int]:
    """Move cursors forward, in one statement, and return the ids of those that are there no more.

    RowLocked when somebody holds one of them.
    """
    ids = [key.cursor_id for key in cursors]
    try:
        with translated():
            rows = await pool.fetch(_ADVANCE, ids, *map(list, zip(*cursors.values(), strict=True)))
    except DatabaseUnavailable as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise RowLocked("another transaction holds a row of the cursors' streams") from error
        raise
    return [row["cursor_id"] for row in rows]


async def gone_cursors(pool: Pool, cursor_ids: Iterable[int]) -> list[int]:
    """Return those of the ids whose rows were deleted."""
    with translated():
        return [row["cursor_id"] for row in await pool.fetch(_GONE, list(cursor_ids))]
