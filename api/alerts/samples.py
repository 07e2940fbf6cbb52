"""Samples of each stream, in bins of ten seconds: what came, and how often something usually comes. For the one process
that looks at the moment (api/alerts/evaluator.py). Of readers' clocks: api/clocks/.
"""

from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["BIN_S", "SAMPLE", "sample"]

BIN_S = 10

# A stream's events are counted by its last position. Bins that nobody was there to see share what came meanwhile. The
# gaps are the median and the longest between the newest reads, of which those that came together are one. Events are
# looked at once in a bin, by position, and only where some came: whatever is old enough to be late has been sampled
# since.
SAMPLE = """
WITH due AS MATERIALIZED (
    SELECT streams.stream_id, last_position, created_at, current.bin AS this_bin, known.bin, bin_position, counts,
           gap_s, longest_gap_s
    FROM (SELECT floor(extract(epoch FROM now()) / 10)::bigint AS bin) AS current
    CROSS JOIN streams
    LEFT JOIN stream_samples AS known USING (stream_id)
    WHERE known.bin IS NULL OR known.bin < current.bin
),
looked AS MATERIALIZED (
    SELECT due.*, usual.gap_s AS new_gap_s, usual.longest_s AS new_longest_s
    FROM due
    LEFT JOIN LATERAL (
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS gap_s, max(gap) AS longest_s
        FROM (
            SELECT extract(epoch FROM received_at - lag(received_at) OVER (ORDER BY received_at)) AS gap
            FROM (
                SELECT DISTINCT received_at
                FROM (
                    SELECT received_at FROM events
                    WHERE due.bin_position IS DISTINCT FROM due.last_position
                      AND events.stream_id = due.stream_id AND position > due.last_position - 48
                    ORDER BY position LIMIT 48
                ) AS newest
            ) AS arrivals
        ) AS gaps
    ) AS usual ON true
)
INSERT INTO stream_samples AS sample (stream_id, bin, bin_position, counts, gap_s, longest_gap_s)
SELECT stream_id, this_bin,
       CASE WHEN bin IS NULL AND created_at > now() - interval '10 seconds' THEN 0 ELSE last_position END,
       CASE WHEN bin IS NULL THEN array_fill(0, ARRAY[180])
            ELSE (counts || array_fill((grown.by / grown.bins)::integer, ARRAY[grown.bins - 1])
                  || (grown.by - grown.by / grown.bins * (grown.bins - 1))::integer)[grown.bins + 1:] END,
       CASE WHEN bin_position = last_position THEN gap_s ELSE new_gap_s END,
       CASE WHEN bin_position = last_position THEN longest_gap_s ELSE new_longest_s END
FROM looked
CROSS JOIN LATERAL (
    SELECT greatest(0, least(last_position - bin_position, 2000000000)) AS by,
           greatest(1, least(this_bin - bin, 180))::integer AS bins
) AS grown
ON CONFLICT (stream_id) DO UPDATE
SET bin = excluded.bin, bin_position = excluded.bin_position, counts = excluded.counts, gap_s = excluded.gap_s,
    longest_gap_s = excluded.longest_gap_s
"""
_FORGET_SAMPLES = """
DELETE FROM stream_samples WHERE NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = stream_samples.stream_id)
"""


async def sample(connection: Connection) -> None:
    """Close the bins of which the time is over."""
    with translated():
        await connection.execute(SAMPLE)
        await connection.execute(_FORGET_SAMPLES)
