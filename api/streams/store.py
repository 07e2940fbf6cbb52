"""Streams, their numbers and their epochs. No statement here counts events: the writer counts as it goes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from api.http.types import LARGEST
from api.streams.columns import ZONE_UNKNOWN
from api.streams.types import Epoch, MissingRange, SequenceMap, Stream, StreamMetrics
from shared.db.connections import Pool, Statements
from shared.db.errors import translated

__all__ = [
    "EPOCHS",
    "MISSING_RANGES",
    "SELECT_EPOCHS",
    "SELECT_METRICS",
    "SEQUENCE",
    "Deletion",
    "delete",
    "epoch",
    "epochs",
    "find",
    "list_streams",
    "metrics",
    "metrics_of",
    "sequence",
    "set_alias",
    "set_alias_of",
]

Deletion = Literal["deleted", "absent", "used", "connected"]

MISSING_RANGES = 100
EPOCHS = 1000

# A reader counts as connected where its forwarder's live session has not said otherwise: older ones say nothing.
_STREAM = """
SELECT streams.stream_id, streams.forwarder_id, streams.reader_ip, display_alias, forwarder_display_name,
       streams.stream_epoch, live.forwarder_id IS NOT NULL AS online,
       coalesce(reader.connected, live.forwarder_id IS NOT NULL) AS reader_connected,
       epoch_names.name AS current_epoch_name, created_at, closed.stream_id IS NOT NULL AS closed
FROM streams
LEFT JOIN live ON live.forwarder_id = streams.forwarder_id
LEFT JOIN reported_readers AS reader
    ON reader.forwarder_id = streams.forwarder_id AND reader.reader_ip = streams.reader_ip
LEFT JOIN epoch_names
    ON epoch_names.stream_id = streams.stream_id AND epoch_names.stream_epoch = streams.stream_epoch
LEFT JOIN closed_streams AS closed ON closed.stream_id = streams.stream_id
"""
# Who is live is looked up once, not for every stream.
_LIST = f"""
WITH live AS MATERIALIZED (SELECT forwarder_id FROM live_forwarder_sessions)
{_STREAM}
ORDER BY created_at, streams.stream_id
"""  # noqa: S608 - of constants only
_FIND = f"""
WITH live AS NOT MATERIALIZED (SELECT forwarder_id FROM live_forwarder_sessions)
{_STREAM}
WHERE streams.stream_id = $1
"""  # noqa: S608 - of constants only
# By functions (migrations/routines/streams.sql).
_SET_ALIAS = "SELECT alias_stream($1, $2)"
_SET_ALIAS_OF = "SELECT alias_stream_named($1, $2, $3)"

# total: over the stream's epochs. epoch: the current one, which may have nothing yet. flow: backlog, from cursors
# and metrics. The clock is what the last look made of it (api/clocks/).
SELECT_METRICS = f"""
SELECT streams.stream_id, total.*, flow.backlog,
       coalesce(epoch.raw_count, 0) AS epoch_raw_count,
       coalesce(epoch.dedup_count, 0) AS epoch_dedup_count,
       coalesce(epoch.retransmit_count, 0) AS epoch_retransmit_count,
       CASE WHEN epoch.dedup_count > 0 THEN epoch.last_received_at END AS epoch_last_received_at,
       (extract(epoch FROM now() - total.last_received_at) * 1000)::bigint AS lag_ms,
       CASE WHEN epoch.dedup_count > 0
            THEN (extract(epoch FROM now() - epoch.last_received_at) * 1000)::bigint END AS epoch_lag_ms,
       coalesce(epoch.chip_count, 0) AS unique_chips,
       coalesce(epoch.last_seq - epoch.dedup_count, 0) AS missing_count,
       coalesce(epoch.missing, '{{}}') AS missing,
       clock.offset_ms AS clock_offset_ms, {ZONE_UNKNOWN} AS zone_unknown
FROM streams
LEFT JOIN reader_clocks AS clock USING (stream_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(raw_count), 0)::bigint AS raw_count,
           coalesce(sum(dedup_count), 0)::bigint AS dedup_count,
           coalesce(sum(retransmit_count), 0)::bigint AS retransmit_count,
           coalesce(sum(conflict_count), 0)::bigint AS conflict_count,
           coalesce(sum(unparsed_count), 0)::bigint AS unparsed_count,
           max(last_received_at) FILTER (WHERE dedup_count > 0) AS last_received_at,
           (array_agg(last_tag_id ORDER BY last_received_at DESC))[1] AS last_tag_id,
           (array_agg(last_reader_timestamp ORDER BY last_received_at DESC))[1] AS last_reader_timestamp
    FROM stream_metrics
    WHERE stream_metrics.stream_id = streams.stream_id
) AS total
LEFT JOIN stream_metrics AS epoch
    ON epoch.stream_id = streams.stream_id AND epoch.stream_epoch = streams.stream_epoch
CROSS JOIN LATERAL (
    SELECT coalesce(max(behind), 0) AS backlog
    FROM receiver_streams
    WHERE receiver_streams.stream_id = streams.stream_id AND subscribed
) AS flow
WHERE streams.stream_id = ANY($1::uuid[])
"""  # noqa: S608 - of constants only

_DELETE = "SELECT delete_empty_stream($1)"

# Epochs that have numbers, the current one, which may have been commanded only, and those that people have named or
# given to a race, before they begin or without a read: the newest $3 below $2. A device decides how many there are.
SELECT_EPOCHS = """
SELECT known.epoch, epoch_names.name, epoch_races.race_id, coalesce(dedup_count, 0) AS event_count,
       CASE WHEN dedup_count > 0 THEN first_received_at END AS first_event_at,
       CASE WHEN dedup_count > 0 THEN last_received_at END AS last_event_at,
       known.epoch = streams.stream_epoch AS is_current,
       coalesce(last_seq - dedup_count, 0) AS missing_count
FROM streams
CROSS JOIN LATERAL (
    SELECT stream_epoch
    FROM ((SELECT stream_epoch FROM stream_metrics
           WHERE stream_metrics.stream_id = streams.stream_id AND stream_metrics.stream_epoch < $2
           ORDER BY stream_epoch DESC LIMIT $3)
          UNION
          (SELECT stream_epoch FROM epoch_names
           WHERE epoch_names.stream_id = streams.stream_id AND epoch_names.stream_epoch < $2
           ORDER BY stream_epoch DESC LIMIT $3)
          UNION
          (SELECT stream_epoch FROM epoch_races
           WHERE epoch_races.stream_id = streams.stream_id AND epoch_races.stream_epoch < $2
           ORDER BY stream_epoch DESC LIMIT $3)
          UNION
          SELECT streams.stream_epoch WHERE streams.stream_epoch < $2) AS newest
    ORDER BY stream_epoch DESC
    LIMIT $3
) AS known(epoch)
LEFT JOIN stream_metrics
    ON stream_metrics.stream_id = streams.stream_id AND stream_metrics.stream_epoch = known.epoch
LEFT JOIN epoch_names ON epoch_names.stream_id = streams.stream_id AND epoch_names.stream_epoch = known.epoch
LEFT JOIN epoch_races ON epoch_races.stream_id = streams.stream_id AND epoch_races.stream_epoch = known.epoch
WHERE streams.stream_id = $1
ORDER BY known.epoch
"""


# $1 stream, $2 epoch or null, $3 bins, $4 lines aside that are looked at. No event is read: what is missing stands in
# the epoch's row, and what came under a taken number lies aside, by number.
SEQUENCE = """
WITH epoch AS MATERIALIZED (
    SELECT streams.stream_id, coalesce($2::bigint, streams.stream_epoch) AS epoch, coalesce(last_seq, 0) AS last,
           greatest(ceil(coalesce(last_seq, 0) / $3::numeric), 1)::bigint AS bin, coalesce(missing, '{}') AS gaps,
           coalesce(last_seq - dedup_count, 0) AS missing_count, coalesce(conflict_count, 0) AS conflict_count,
           coalesce(retransmit_count, 0) AS retransmit_count
    FROM streams
    LEFT JOIN stream_metrics AS counted
        ON counted.stream_id = streams.stream_id
       AND counted.stream_epoch = coalesce($2::bigint, streams.stream_epoch)
    WHERE streams.stream_id = $1
),
aside AS MATERIALIZED (
    SELECT DISTINCT seq FROM (
        SELECT seq FROM integrity_conflicts
        WHERE stream_id = $1 AND stream_epoch = (SELECT epoch FROM epoch) ORDER BY seq LIMIT $4
    ) AS looked_at
),
bins AS MATERIALIZED (
    SELECT number, int8range(number * bin + 1, (number + 1) * bin + 1) AS seqs
    FROM epoch CROSS JOIN generate_series(0, (last - 1) / bin) AS number
    WHERE last > 0
)
SELECT stream_id, epoch, last, bin, missing_count, conflict_count, retransmit_count,
       CASE WHEN missing_count > (SELECT coalesce(sum(upper(gap) - lower(gap)), 0) FROM unnest(gaps) AS gap)
            THEN coalesce(upper(gaps) - 1, 0) ELSE last END AS known_to,
       ARRAY(SELECT (SELECT coalesce(sum(upper(gap) - lower(gap)), 0)::bigint
                     FROM unnest(gaps * int8multirange(seqs)) AS gap)
             FROM bins ORDER BY number) AS missing,
       ARRAY(SELECT (SELECT count(*) FROM aside WHERE seq <@ seqs) FROM bins ORDER BY number) AS conflicts
FROM epoch
"""
SEQUENCE_BINS = 200
CONFLICTS_LOOKED_AT = 10_000


async def list_streams(pool: Pool) -> list[Stream]:
    """Return all streams, in order of creation."""
    with translated():
        return [Stream(**row) for row in await pool.fetch(_LIST)]


async def find(database: Statements, stream_id: UUID) -> Stream | None:
    """Return a stream; None when there is none of this id."""
    with translated():
        row = await database.fetchrow(_FIND, stream_id)
    return None if row is None else Stream(**row)


async def set_alias(database: Statements, stream_id: UUID, alias: str | None) -> bool:
    """Give a stream an alias, or none; false when there is no such stream."""
    with translated():
        return await database.fetchval(_SET_ALIAS, stream_id, alias) is not None


async def set_alias_of(
    database: Statements, stream_id: UUID, alias: str | None, *, expected: str | None
) -> bool:
    """Give a stream that has an alias another; false when it has another one by now, or is not there."""
    with translated():
        return await database.fetchval(_SET_ALIAS_OF, stream_id, alias, expected) is not None


async def delete(database: Statements, stream_id: UUID) -> Deletion:
    """Delete a stream that holds nothing, if its forwarder is not connected; say what became of that."""
    with translated():
        outcome: Deletion = await database.fetchval(_DELETE, stream_id)
    return outcome


async def metrics(pool: Pool, stream_id: UUID) -> StreamMetrics | None:
    """Return the numbers of a stream, of one moment; None when there is no such stream."""
    return (await metrics_of(pool, [stream_id])).get(stream_id)


async def metrics_of(pool: Pool, stream_ids: Sequence[UUID]) -> dict[UUID, StreamMetrics]:
    """Return the numbers of those streams that there are, of one moment."""
    if not stream_ids:
        return {}
    with translated():
        rows = await pool.fetch(SELECT_METRICS, stream_ids)
    return {row["stream_id"]: _metrics(dict(row)) for row in rows}


async def sequence(pool: Pool, stream_id: UUID, epoch: int | None) -> SequenceMap | None:
    """Return what became of the numbers of an epoch, the current one unless it is named; None: no such stream."""
    with translated():
        row = await pool.fetchrow(SEQUENCE, stream_id, epoch, SEQUENCE_BINS, CONFLICTS_LOOKED_AT)
    return None if row is None else SequenceMap(**row)


async def epochs(pool: Pool, stream_id: UUID, *, below: int = LARGEST, limit: int = EPOCHS) -> list[Epoch]:
    """Return the newest epochs of a stream below one, ascending; none at all when there is no such stream."""
    with translated():
        return [Epoch(**row) for row in await pool.fetch(SELECT_EPOCHS, stream_id, below, limit)]


async def epoch(pool: Pool, stream_id: UUID, number: int) -> Epoch | None:
    """Return one epoch of a stream; None when there is none of this number."""
    found = await epochs(pool, stream_id, below=min(number, LARGEST - 1) + 1, limit=1)
    return found[0] if found and found[0].epoch == number else None


def _metrics(row: Mapping[str, Any]) -> StreamMetrics:
    fields = {name: row[name] for name in StreamMetrics.__struct_fields__ if name in row}
    gaps = row["missing"][:MISSING_RANGES]
    return StreamMetrics(
        **fields, missing_ranges=[MissingRange(first=g.lower, last=g.upper - 1) for g in gaps]
    )
