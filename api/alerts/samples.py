"""Samples of each stream, in bins of ten seconds: what came, how often something usually comes, and what is known of
the reader's clock. For the one process that looks at the moment (api/alerts/evaluator.py).
"""

from shared.db.connections import Connection, Pool
from shared.db.errors import DatabaseRefused, translated
from shared.errors import SettingsError

__all__ = ["BIN_S", "SAMPLE", "require_zone", "sample"]

BIN_S = 10

# A stream's events are counted by its last position. Bins that nobody was there to see share what came meanwhile. The
# gaps are the median and the longest between the newest reads, of which those that came together are one. Events are
# looked at once in a bin, by position, and only where some came: whatever is old enough to be late has been sampled
# since.
#
# The clock. Of a read we know that reader's clock minus ours is read_at - received_at, and more by as long as the read
# was on its way. So a delay makes a clock look behind, and nothing makes it look ahead:
#   told      the best of the reads since the last look, but for the top tenth: lines that lie. Not of last sightings,
#             which come later and carry the time of the first one. And not of what a reader's memory had, none of
#             which is live.
#   believed  what is ahead of what was believed is nearer to the truth, at once. What is a little behind it lets belief
#             sink by 5 ms a look, for clocks that drift. What is further behind it (or the first that is told at all)
#             may be reads that were held back: it is believed when the reads of a later look say the same. A backlog
#             never does: each of its looks is less late than the one before, and after its last none comes.
#   zone      what is left of a wall clock minus UTC's. $1 where it is given: then the clock is compared with that
#             zone's wall clock at the moment when the read came, and nothing is left. Else the whole quarter of an
#             hour, not further from UTC than zones are, that most streams of the last day are within 2 min of, and two
#             at least.
SAMPLE = r"""
WITH due AS MATERIALIZED (
    SELECT streams.stream_id, last_position, created_at, current.bin AS this_bin, known.bin, bin_position, counts,
           gap_s, longest_gap_s, clock.ahead_ms, clock.last_ms, clock.last_at, is_memory(reader_ip) AS of_memory
    FROM (SELECT floor(extract(epoch FROM now()) / 10)::bigint AS bin) AS current
    CROSS JOIN streams
    LEFT JOIN stream_samples AS known USING (stream_id)
    -- What was taken by another zone's wall clock says nothing any more.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN same THEN clock_ahead_ms END AS ahead_ms, CASE WHEN same THEN clock_last_ms END AS last_ms,
               CASE WHEN same THEN clock_last_at END AS last_at
        FROM (SELECT clock_zone IS NOT DISTINCT FROM $1::text) AS zone(same)
    ) AS clock
    WHERE known.bin IS NULL OR known.bin < current.bin
),
looked AS MATERIALIZED (
    SELECT due.*, usual.gap_s AS new_gap_s, usual.longest_s AS new_longest_s, told.ms AS told_ms, told.at AS told_at,
           CASE WHEN told.ms IS NULL THEN ahead_ms
                WHEN told.ms >= ahead_ms THEN told.ms
                WHEN ahead_ms - told.ms <= 200 THEN greatest(told.ms, ahead_ms - 5)
                WHEN abs(told.ms - last_ms) <= 200 AND told.at >= last_at + interval '5 seconds' THEN told.ms
                ELSE ahead_ms END AS believed_ms
    FROM due
    LEFT JOIN LATERAL (
        SELECT (percentile_disc(0.9) WITHIN GROUP (ORDER BY ahead_s) * 1000)::bigint AS ms, max(received_at) AS at
        FROM (
            SELECT received_at, extract(epoch FROM read_at - received_at AT TIME ZONE coalesce($1, 'UTC')) AS ahead_s
            FROM events
            WHERE due.bin_position IS DISTINCT FROM due.last_position
              AND events.stream_id = due.stream_id
              AND position > greatest(due.last_position - 100, due.bin_position)
              AND read_at IS NOT NULL AND NOT due.of_memory
              AND encode(substr(raw_frame, 1, 60), 'escape')
                  !~ '^\s*aa([[:xdigit:]]{34}([[:xdigit:]]{6})?LS|[[:xdigit:]]{36}[4-7])'
            ORDER BY position LIMIT 100
        ) AS reads
    ) AS told ON true
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
),
zone AS MATERIALIZED (
    SELECT 0 AS ms WHERE $1 IS NOT NULL
    UNION ALL
    SELECT quarter * 900000
    FROM (
        SELECT quarter, count(*) AS agree, sum(count(*)) OVER () AS voters
        FROM (
            SELECT coalesce(looked.believed_ms, clock_ahead_ms) AS ms
            FROM stream_samples LEFT JOIN looked USING (stream_id)
            WHERE $1 IS NULL AND clock_zone IS NULL
              AND coalesce(looked.told_at, clock_last_at) > now() - interval '1 day'
        ) AS clocks
        CROSS JOIN LATERAL (SELECT round(ms / 900000.0)::bigint) AS nearest(quarter)
        WHERE quarter BETWEEN -48 AND 56 AND abs(ms - quarter * 900000) <= 120000
        GROUP BY quarter
    ) AS quarters
    WHERE agree >= 2 AND agree * 2 > voters
)
INSERT INTO stream_samples AS sample (stream_id, bin, bin_position, counts, gap_s, longest_gap_s, clock_offset_ms,
                                      clock_ahead_ms, clock_step_ms, clock_last_ms, clock_last_at, clock_zone)
SELECT stream_id, this_bin,
       CASE WHEN bin IS NULL AND created_at > now() - interval '10 seconds' THEN 0 ELSE last_position END,
       CASE WHEN bin IS NULL THEN array_fill(0, ARRAY[180])
            ELSE (counts || array_fill((grown.by / grown.bins)::integer, ARRAY[grown.bins - 1])
                  || (grown.by - grown.by / grown.bins * (grown.bins - 1))::integer)[grown.bins + 1:] END,
       CASE WHEN bin_position = last_position THEN gap_s ELSE new_gap_s END,
       CASE WHEN bin_position = last_position THEN longest_gap_s ELSE new_longest_s END,
       believed_ms - (SELECT ms FROM zone), believed_ms, believed_ms - ahead_ms,
       coalesce(told_ms, last_ms), coalesce(told_at, last_at), $1
FROM looked
CROSS JOIN LATERAL (
    SELECT greatest(0, least(last_position - bin_position, 2000000000)) AS by,
           greatest(1, least(this_bin - bin, 180))::integer AS bins
) AS grown
ON CONFLICT (stream_id) DO UPDATE
SET bin = excluded.bin, bin_position = excluded.bin_position, counts = excluded.counts, gap_s = excluded.gap_s,
    longest_gap_s = excluded.longest_gap_s,
    clock_offset_ms = excluded.clock_offset_ms, clock_was_ms = NULL, clock_ahead_ms = excluded.clock_ahead_ms,
    clock_step_ms = excluded.clock_step_ms, clock_last_ms = excluded.clock_last_ms,
    clock_last_at = excluded.clock_last_at, clock_zone = excluded.clock_zone
"""
_FORGET_SAMPLES = """
DELETE FROM stream_samples WHERE NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = stream_samples.stream_id)
"""


async def require_zone(pool: Pool, time_zone: str) -> None:
    """Return if the database knows the zone, too: its tz database is another than ours. SettingsError if not."""
    try:
        with translated():
            await pool.fetchval("SELECT now() AT TIME ZONE $1", time_zone or "UTC")
    except DatabaseRefused as error:
        raise SettingsError(
            [f"TIME_ZONE is wrong: the database does not know the zone {time_zone}"]
        ) from error


async def sample(connection: Connection, *, time_zone: str | None) -> None:
    """Close the bins of which the time is over. time_zone: what the readers' clocks are set to, where that is known."""
    with translated():
        await connection.execute(SAMPLE, time_zone)
        await connection.execute(_FORGET_SAMPLES)
