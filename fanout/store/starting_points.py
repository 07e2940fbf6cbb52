"""Where a receiver stands in streams when a session begins with them, and the rows that its acks will move."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

import asyncpg
import orjson

from fanout.delivery import NOTHING, Cursor, EpochState
from fanout.store.cursors import row_errors
from shared.db.connections import Pool
from shared.db.errors import DatabaseUnavailable

__all__ = ["BEGIN", "STARTING_POINTS", "StartingPoint", "starting_points"]

# Each time an epoch must have begun, or somebody have deleted cursors, in between.
BEGIN_ATTEMPTS = 3
# Epochs are as many as devices make (MAX_EPOCHS of a gateway): others have their turn after so many.
ROWS_AT_ONCE = 1_000


class StartingPoint(NamedTuple):
    """Of one snapshot: newest position and current epoch, the epochs that have events, the rows that acks of each move,
    and whether these say that the epoch is wanted. There is a row of the current epoch also while it has no events, and
    there may be one of an older epoch that never had any.
    """

    last_position: int
    current_epoch: int
    epochs: dict[int, EpochState]
    cursor_ids: dict[int, int]
    wanted: dict[int, bool]


# Rows are looked up in one form, of which only the primary key gives the order (routines/drain.sql says why).
#
# A cursor beyond what is stored (a restored backup) is void: left in place it would count again as soon as as much is
# stored. It begins again under another id, so that no ack of before counts. Rows that another session is making at this
# moment are waited for; they are seen by the next statement, whose snapshot is younger.
#
# The current epoch, and the one that a receiver asks for ($3), get their rows before they have any event: that it has
# begun with one must outlive the session, or what is stored while it is away would lie below its floor once a newer
# epoch is the current one (plans/live.py). Such a row says that nothing is acked: it is beyond nothing and never void.
# A row that goes here (`void`) is told of like any other deletion: sessions of the receiver that hold it begin anew.
BEGIN = """
WITH epochs AS MATERIALIZED (
    SELECT stream.stream_id, stream.last_position, epoch.stream_epoch, epoch.last_seq
    FROM unnest($2::uuid[], $3::bigint[]) AS wanted(stream_id, earliest)
    CROSS JOIN LATERAL (
        SELECT streams.stream_id, last_position, streams.stream_epoch AS current_epoch FROM streams
        WHERE streams.stream_id >= wanted.stream_id AND streams.stream_id <= wanted.stream_id
        ORDER BY streams.stream_id DESC LIMIT 1
    ) AS stream
    CROSS JOIN LATERAL (
        (SELECT metrics.stream_epoch, metrics.last_seq FROM stream_metrics AS metrics
         WHERE metrics.stream_id = stream.stream_id
         ORDER BY metrics.stream_epoch
         OFFSET 0)
        UNION ALL
        SELECT DISTINCT silent.stream_epoch, 0
        FROM (VALUES (stream.current_epoch), (greatest(1, least(wanted.earliest, stream.current_epoch))))
            AS silent(stream_epoch)
        WHERE (SELECT metrics.stream_epoch FROM stream_metrics AS metrics
               WHERE metrics.stream_id = stream.stream_id
                 AND metrics.stream_epoch >= silent.stream_epoch AND metrics.stream_epoch <= silent.stream_epoch
               ORDER BY metrics.stream_epoch DESC LIMIT 1) IS NULL
    ) AS epoch
),
void AS (
    DELETE FROM receiver_cursors AS cursors
    USING (
        SELECT known.ctid AS row_place
        FROM unnest($2::uuid[]) AS wanted(stream_id)
        CROSS JOIN LATERAL (
            SELECT row.ctid, row.stream_epoch FROM receiver_cursors AS row
            WHERE row.receiver_id = $1 AND row.stream_id = wanted.stream_id AND row.last_seq > 0
            ORDER BY row.stream_epoch
            OFFSET 0
        ) AS known
        WHERE (SELECT metrics.stream_epoch FROM stream_metrics AS metrics
               WHERE metrics.stream_id = wanted.stream_id
                 AND metrics.stream_epoch >= known.stream_epoch AND metrics.stream_epoch <= known.stream_epoch
               ORDER BY metrics.stream_epoch DESC LIMIT 1) IS NULL
    ) AS unknown
    WHERE cursors.ctid = unknown.row_place
)
INSERT INTO receiver_cursors AS cursors
    (receiver_id, stream_id, stream_epoch, last_seq, position, event_count, wanted)
SELECT $1, epochs.stream_id, epochs.stream_epoch, 0, 0, 0, $4
FROM epochs
LEFT JOIN LATERAL (
    SELECT row.cursor_id, row.last_seq, row.position FROM receiver_cursors AS row
    WHERE row.receiver_id = $1 AND row.stream_id = epochs.stream_id
      AND row.stream_epoch >= epochs.stream_epoch AND row.stream_epoch <= epochs.stream_epoch
    ORDER BY row.stream_epoch DESC LIMIT 1
) AS known ON true
WHERE known.cursor_id IS NULL OR known.last_seq > epochs.last_seq OR known.position > epochs.last_position
ORDER BY epochs.stream_id, epochs.stream_epoch
ON CONFLICT (receiver_id, stream_id, stream_epoch) DO UPDATE
SET cursor_id = DEFAULT, last_seq = 0, position = 0, event_count = 0, implied = false, updated_at = now()
WHERE cursors.last_seq > coalesce((SELECT metrics.last_seq FROM stream_metrics AS metrics
                                   WHERE metrics.stream_id = cursors.stream_id
                                     AND metrics.stream_epoch = cursors.stream_epoch), 0)
   OR cursors.position > (SELECT last_position FROM streams WHERE streams.stream_id = cursors.stream_id)
"""
# $3: the receiver's resumes, as JSON by stream and epoch. Silent: an epoch that has a row and no events. A row of the
# release before has no position: up to the one of its last_seq it had delivered. Where the list of gaps is full
# (stream_metrics.missing), nobody can tell how many events lie above a number.
STARTING_POINTS = """
SELECT stream.stream_id, stream.last_position, stream.current_epoch, epoch.stream_epoch, epoch.last_seq,
       CASE WHEN numbers_in(epoch.missing) = epoch.last_seq - epoch.dedup_count
            THEN epoch.dedup_count END AS event_count,
       known.cursor_id,
       coalesce(known.last_seq, 0) AS acked, epoch.is_silent,
       coalesce(known.position, stored.position, 0) AS position,
       known.event_count AS acked_count, known.implied, known.wanted,
       events_above(epoch.counted, coalesce(known.last_seq, 0)) AS above_cursor,
       resumed.last_seq AS resume,
       coalesce(events_above(epoch.counted, resumed.last_seq), 0) AS above_resume
FROM unnest($2::uuid[]) AS wanted(stream_id)
CROSS JOIN LATERAL (
    SELECT streams.stream_id, last_position, streams.stream_epoch AS current_epoch FROM streams
    WHERE streams.stream_id >= wanted.stream_id AND streams.stream_id <= wanted.stream_id
    ORDER BY streams.stream_id DESC LIMIT 1
) AS stream
LEFT JOIN LATERAL (
    (SELECT metrics.stream_id, metrics.stream_epoch, metrics.last_seq, metrics.dedup_count, metrics.missing,
            metrics AS counted, false AS is_silent
     FROM stream_metrics AS metrics
     WHERE metrics.stream_id = stream.stream_id
     ORDER BY metrics.stream_epoch
     OFFSET 0)
    UNION ALL
    (SELECT row.stream_id, row.stream_epoch, 0, 0, NULL, NULL, true
     FROM receiver_cursors AS row
     WHERE row.receiver_id = $1 AND row.stream_id = stream.stream_id
       AND (SELECT metrics.stream_epoch FROM stream_metrics AS metrics
            WHERE metrics.stream_id = row.stream_id
              AND metrics.stream_epoch >= row.stream_epoch AND metrics.stream_epoch <= row.stream_epoch
            ORDER BY metrics.stream_epoch DESC LIMIT 1) IS NULL
     ORDER BY row.stream_epoch
     OFFSET 0)
) AS epoch ON true
LEFT JOIN LATERAL (
    SELECT row.cursor_id, row.last_seq, row.position, row.event_count, row.implied, row.wanted
    FROM receiver_cursors AS row
    WHERE row.receiver_id = $1 AND row.stream_id = epoch.stream_id
      AND row.stream_epoch >= epoch.stream_epoch AND row.stream_epoch <= epoch.stream_epoch
    ORDER BY row.stream_epoch DESC LIMIT 1
) AS known ON true
LEFT JOIN LATERAL (
    SELECT event.position FROM events AS event
    WHERE known.position IS NULL AND event.stream_id = epoch.stream_id AND event.stream_epoch = epoch.stream_epoch
      AND event.seq >= known.last_seq AND event.seq <= known.last_seq
    ORDER BY event.seq DESC LIMIT 1
) AS stored ON true
LEFT JOIN LATERAL (
    SELECT ($3::jsonb #>> ARRAY[epoch.stream_id::text, epoch.stream_epoch::text])::bigint AS last_seq
) AS resumed ON true
"""


async def starting_points(
    pool: Pool,
    receiver_id: str,
    resumes: Mapping[UUID, Mapping[int, int]],
    *,
    earliest: Mapping[UUID, int] | None = None,
    wanted: bool = True,
) -> dict[UUID, StartingPoint]:
    """Return where a receiver stands in each of the streams that still exist, and make the rows that acks will move.

    resumes: for each stream what the receiver says itself, last_seq by epoch. earliest: from which epochs on it asks
    for some. wanted: what rows that are made say of their epochs until they are flagged. RowLocked when somebody holds
    one of the streams, or is deleting it.
    """
    named = {
        str(stream_id): {str(epoch): seq for epoch, seq in of.items()} for stream_id, of in resumes.items()
    }
    epochs = [(earliest or {}).get(stream_id) for stream_id in resumes]
    for _ in range(BEGIN_ATTEMPTS):
        with row_errors():
            await pool.execute(BEGIN, receiver_id, list(resumes), epochs, wanted)
            rows = await pool.fetch(STARTING_POINTS, receiver_id, list(resumes), orjson.dumps(named).decode())
        # An epoch that began, or a cursor that was deleted, between the two has no row yet.
        points = await _points(rows)
        if all(_has_its_rows(point) for point in points.values()):
            return points
    raise DatabaseUnavailable("cursors of this receiver are deleted all the time")


def _has_its_rows(point: StartingPoint) -> bool:
    return None not in point.cursor_ids.values() and point.current_epoch in point.cursor_ids


async def _points(rows: Iterable[asyncpg.Record]) -> dict[UUID, StartingPoint]:
    found: dict[UUID, StartingPoint] = {}
    for number, row in enumerate(rows, start=1):
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
        point = found.setdefault(
            row["stream_id"], StartingPoint(row["last_position"], row["current_epoch"], {}, {}, {})
        )
        epoch = row["stream_epoch"]
        if epoch is None:
            continue
        point.cursor_ids[epoch] = row["cursor_id"]
        point.wanted[epoch] = row["wanted"]
        if row["is_silent"]:
            continue
        point.epochs[epoch] = EpochState(
            row["last_seq"],
            row["event_count"],
            Cursor(row["acked"], row["position"], row["acked_count"], row["implied"])
            if row["acked"]
            else NOTHING,
            row["above_cursor"],
            row["resume"],
            row["above_resume"],
        )
    return found
