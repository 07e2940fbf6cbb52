"""How far behind receivers were over time, in rows."""

from datetime import datetime
from typing import NamedTuple

from api.storage.plans import FORGET
from shared.db.connections import Pool, Transaction
from shared.db.errors import translated

__all__ = ["BINS", "BIN_S", "LAGS", "SAMPLE", "Lag", "lags", "sample", "take_turn"]

BIN_S = 120
BINS = 360

# At most one process in $1 seconds. The others do not wait for its lock.
_TAKE_TURN = """
UPDATE lags_turn SET looked_at = now()
WHERE only_row IN (
    SELECT only_row FROM lags_turn WHERE looked_at < now() - make_interval(secs => $1)
    FOR UPDATE SKIP LOCKED
)
RETURNING true
"""

# $1: the moment, or null: now. A receiver is as far behind as the stream of which it owes the oldest read.
# Those that are gone and are missed are behind by all that comes. What is not worse than what the bin has already is
# not written.
SAMPLE = """
WITH behind AS MATERIALIZED (
    SELECT receiver_id, coalesce(max(extract(epoch FROM coalesce($1, now()) - oldest.received_at)), 0)::real AS seconds
    FROM receiver_streams AS flow
    FULL JOIN subscriptions USING (receiver_id, stream_id)
    JOIN streams USING (stream_id)
    CROSS JOIN LATERAL (SELECT coalesce(flow.behind, last_position)) AS owed(events)
    LEFT JOIN LATERAL (
        SELECT received_at FROM events
        WHERE owed.events > 0
          AND events.stream_id = streams.stream_id AND position > last_position - owed.events
        ORDER BY position LIMIT 1
    ) AS oldest ON true
    GROUP BY receiver_id
)
INSERT INTO receiver_lags AS lag (receiver_id, bin, seconds)
SELECT receiver_id, floor(extract(epoch FROM coalesce($1::timestamptz, now())) / 120)::bigint,
       array_fill(NULL::real, ARRAY[359]) || seconds
FROM behind
ON CONFLICT (receiver_id) DO UPDATE
SET bin = excluded.bin,
    seconds = CASE WHEN excluded.bin <= lag.bin
                   THEN lag.seconds[1:359] || excluded.seconds[360]
                   ELSE (lag.seconds || array_fill(NULL::real, ARRAY[least(excluded.bin - lag.bin, 360)::integer - 1])
                         || excluded.seconds[360])[least(excluded.bin - lag.bin, 360)::integer + 1:] END
WHERE lag.bin < excluded.bin OR excluded.seconds[360] > coalesce(lag.seconds[360], -1)
"""
# $1: as above. Of whom nothing was sampled for as long as is kept.
_FORGET = """
DELETE FROM receiver_lags WHERE bin < floor(extract(epoch FROM coalesce($1::timestamptz, now())) / 120) - 360
"""

# $1: the newest bins, $2: receivers at the most, $3: the moment, or null: now. Those first that were
# furthest behind; a receiver of which nothing was sampled lately has nothing in the bins since.
LAGS = """
WITH current AS (SELECT floor(extract(epoch FROM coalesce($3::timestamptz, now())) / 120)::bigint AS bin),
lines AS MATERIALIZED (
    SELECT receiver_id,
           (seconds || array_fill(NULL::real, ARRAY[least(greatest(current.bin - lag.bin, 0), 360)::integer]))
               [361 + least(greatest(current.bin - lag.bin, 0), 360)::integer - $1::integer:] AS seconds
    FROM receiver_lags AS lag CROSS JOIN current
)
SELECT receiver_id, to_timestamp((current.bin - $1::integer + 1) * 120) AS begins_at,
       receiver_id IN (SELECT receiver_id FROM live_receiver_sessions) AS connected,
       lines.seconds, worst.seconds AS worst_seconds, count(receiver_id) OVER () AS total
FROM current
LEFT JOIN lines ON true
LEFT JOIN LATERAL (SELECT max(each) AS seconds FROM unnest(lines.seconds) AS each) AS worst ON true
ORDER BY worst.seconds DESC NULLS LAST, receiver_id
LIMIT $2
"""


class Lag(NamedTuple):
    """A receiver, and how far it was behind at the worst of each bin; None where nobody looked."""

    receiver_id: str
    connected: bool
    seconds: list[float | None]
    worst_seconds: float | None


async def take_turn(connection: Transaction, *, every_s: float) -> bool:
    """Return whether nobody has looked within that time: then we do."""
    with translated():
        return await connection.fetchval(_TAKE_TURN, every_s) is not None


async def sample(connection: Transaction, *, at: datetime | None = None) -> None:
    """Keep how far each receiver is behind at this moment. at: what is taken for it; else it is the database's."""
    with translated():
        await connection.execute(FORGET)
        await connection.execute(SAMPLE, at)
        await connection.execute(_FORGET, at)


async def lags(
    pool: Pool, *, bins: int, at_most: int, at: datetime | None = None
) -> tuple[datetime, int, list[Lag]]:
    """Return when the newest bins begin, how many receivers there are, and those that were furthest behind."""
    with translated():
        rows = await pool.fetch(LAGS, bins, at_most, at)
    found = [
        Lag(row["receiver_id"], row["connected"], row["seconds"], row["worst_seconds"])
        for row in rows
        if row["receiver_id"] is not None
    ]
    return rows[0]["begins_at"], rows[0]["total"], found
