"""What is counted of streams."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["STREAM_METRICS", "StreamMetrics", "read_metrics"]

# Rows are looked up in one form, of which only the primary key gives the order (routines/drain.sql says why). Clocks of
# machines differ: nothing is received in the future.
STREAM_METRICS = """
SELECT stream.stream_id, stream.forwarder_id, stream.reader_ip, stream.last_position AS position,
       total.raw_count, total.dedup_count, total.retransmit_count,
       CASE WHEN total.last_received_at IS NOT NULL
            THEN greatest(0, extract(epoch FROM now() - total.last_received_at) * 1000)::bigint END AS lag_ms,
       coalesce(epoch.raw_count, 0) AS epoch_raw_count,
       coalesce(epoch.dedup_count, 0) AS epoch_dedup_count,
       coalesce(epoch.retransmit_count, 0) AS epoch_retransmit_count,
       CASE WHEN epoch.last_received_at IS NOT NULL
            THEN greatest(0, extract(epoch FROM now() - epoch.last_received_at) * 1000)::bigint END AS epoch_lag_ms,
       epoch.last_received_at AS epoch_last_received_at,
       coalesce(epoch.chip_count, 0) AS unique_chips
FROM unnest($1::uuid[]) AS wanted(stream_id)
CROSS JOIN LATERAL (
    SELECT streams.stream_id, forwarder_id, reader_ip, streams.stream_epoch, last_position FROM streams
    WHERE streams.stream_id >= wanted.stream_id AND streams.stream_id <= wanted.stream_id
    ORDER BY streams.stream_id DESC LIMIT 1
) AS stream
CROSS JOIN LATERAL (
    SELECT coalesce(sum(raw_count), 0)::bigint AS raw_count,
           coalesce(sum(dedup_count), 0)::bigint AS dedup_count,
           coalesce(sum(retransmit_count), 0)::bigint AS retransmit_count,
           max(last_received_at) FILTER (WHERE dedup_count > 0) AS last_received_at
    FROM (
        SELECT metrics.raw_count, metrics.dedup_count, metrics.retransmit_count, metrics.last_received_at
        FROM stream_metrics AS metrics
        WHERE metrics.stream_id = stream.stream_id
        ORDER BY metrics.stream_epoch
        OFFSET 0
    ) AS epochs
) AS total
LEFT JOIN LATERAL (
    SELECT metrics.raw_count, metrics.dedup_count, metrics.retransmit_count, metrics.chip_count,
           CASE WHEN metrics.dedup_count > 0 THEN metrics.last_received_at END AS last_received_at
    FROM stream_metrics AS metrics
    WHERE metrics.stream_id = stream.stream_id
      AND metrics.stream_epoch >= stream.stream_epoch AND metrics.stream_epoch <= stream.stream_epoch
    ORDER BY metrics.stream_epoch DESC LIMIT 1
) AS epoch ON true
"""


@dataclass(frozen=True, slots=True)
class StreamMetrics:
    """What is counted of a stream up to a position: of all of it, and of its current epoch. Time that passes is no
    change.
    """

    forwarder_id: str
    reader_ip: str
    position: int
    raw_count: int
    dedup_count: int
    retransmit_count: int
    lag_ms: int | None = field(compare=False)
    epoch_raw_count: int
    epoch_dedup_count: int
    epoch_retransmit_count: int
    epoch_lag_ms: int | None = field(compare=False)
    epoch_last_received_at: datetime | None
    unique_chips: int


async def read_metrics(pool: Pool, stream_ids: Collection[UUID]) -> dict[UUID, StreamMetrics]:
    """Return the numbers of the streams that still exist."""
    with translated():
        rows = await pool.fetch(STREAM_METRICS, list(stream_ids))
    return {row["stream_id"]: StreamMetrics(**dict(list(row.items())[1:])) for row in rows}
