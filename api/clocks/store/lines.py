"""What is kept of readers' clocks, for plots: a line of each, in bins."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["LINES", "STEPS", "Line", "Step", "lines", "steps"]

# $1: a stream or null for all; $2: seconds of a bin, $3: bins, $4: lines at the most. The bins end with the one that is
# under way. Of each stream what its clock was at the end of each bin, where it was told within that bin, or within 13
# minutes: a clock that reads all the time is kept once in ten and a window. One look along the key for each.
LINES = """
WITH axis AS MATERIALIZED (
    SELECT date_bin(bin.length, now(), timestamptz '2000-01-01Z') - ($3::integer - 1) * bin.length AS begins_at
    FROM (SELECT make_interval(secs => $2::integer)) AS bin(length)
),
shown AS MATERIALIZED (
    SELECT clock.*, count(*) OVER () AS total,
           stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS title
    FROM reader_clocks AS clock
    JOIN streams USING (stream_id)
    CROSS JOIN axis
    WHERE ahead_ms IS NOT NULL AND told_at >= begins_at AND ($1::uuid IS NULL OR streams.stream_id = $1)
    ORDER BY abs(offset_ms) DESC NULLS LAST, streams.created_at, streams.stream_id
    LIMIT $4
)
SELECT axis.begins_at, shown.stream_id, title, total, zone AS time_zone, offset_ms,
       offset_ms IS NULL AS zone_unknown, told_at,
       CASE WHEN stepped_at IS NOT NULL THEN was_ms - zone_ms END AS was_ms, stepped_at, drift_ppm::float,
       drift_error_ppm::float,
       ARRAY(
           SELECT CASE WHEN mark.at > ends_at - greatest(make_interval(secs => $2::integer), interval '13 minutes')
                       THEN mark.utc_ahead_ms - zone_ahead_ms(zone, mark.at) - zone_ms END
           FROM generate_series(1, $3::integer) AS number
           CROSS JOIN LATERAL (SELECT begins_at + number * make_interval(secs => $2::integer)) AS bin(ends_at)
           LEFT JOIN LATERAL (
               SELECT at, utc_ahead_ms FROM reader_clock_marks AS one
               WHERE one.stream_id = shown.stream_id AND one.at < ends_at ORDER BY at DESC LIMIT 1
           ) AS mark ON true
           ORDER BY number
       ) AS offsets_ms
FROM axis LEFT JOIN shown ON true
"""

# $1: streams, $2: since when. Each time that a clock was set, with what it was until then.
STEPS = """
SELECT mark.stream_id, mark.at, before.utc_ahead_ms - zone_ahead_ms(zone, before.at) - zone_ms AS was_ms,
       mark.utc_ahead_ms - zone_ahead_ms(zone, mark.at) - zone_ms AS is_ms
FROM reader_clock_marks AS mark JOIN reader_clocks USING (stream_id)
LEFT JOIN LATERAL (
    SELECT at, utc_ahead_ms FROM reader_clock_marks AS one
    WHERE one.stream_id = mark.stream_id AND one.at < mark.at ORDER BY at DESC LIMIT 1
) AS before ON true
WHERE mark.stream_id = ANY($1::uuid[]) AND mark.at >= $2 AND mark.stepped
ORDER BY mark.stream_id, mark.at DESC
LIMIT 500
"""


class Line(NamedTuple):
    """A row of LINES: the axis, and a stream of it or None."""

    begins_at: datetime
    stream_id: UUID | None
    fields: dict[str, Any]


class Step(NamedTuple):
    """When a clock was set, and what it was before and after that; None where no zone is known."""

    stream_id: UUID
    at: datetime
    was_ms: int | None
    is_ms: int | None


async def lines(
    pool: Pool, stream_id: UUID | None, *, bin_s: int, bins: int, at_most: int
) -> tuple[datetime, int, list[dict[str, Any]]]:
    """Return when the axis begins, how many streams there are, and those that are shown, the worst first."""
    with translated():
        rows = [dict(row) for row in await pool.fetch(LINES, stream_id, bin_s, bins, at_most)]
    begins_at = rows[0].pop("begins_at")
    found = [{key: row[key] for key in row if key != "begins_at"} for row in rows if row["stream_id"]]
    total = found[0]["total"] if found else 0
    return begins_at, total, [{key: row[key] for key in row if key != "total"} for row in found]


async def steps(pool: Pool, stream_ids: Sequence[UUID], since: datetime) -> list[Step]:
    """Return when clocks were set since a moment, the newest 500 of all, by stream."""
    with translated():
        return [Step(*row) for row in await pool.fetch(STEPS, stream_ids, since)]
