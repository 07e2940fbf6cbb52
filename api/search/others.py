"""What others tell of somebody: how long it takes from place to place, and who was there when she was not."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.crossings.cut import MEETS, OURS
from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["CROWD", "TRAVEL", "Travel", "crowd", "travel"]

# Those who came last at a point say how long it takes to get there.
TRAVELLED = 300

# $1: the race, $2 and $3: from which place to which, $4: chips that are left out, $5: of so many who came last. When
# somebody leaves the start counts there, when somebody comes counts elsewhere, as in crossings. Of each range of the
# race the newest are looked at, along their time, so that what comes later in another epoch takes nobody's room.
TRAVEL = f"""
WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race($1))
SELECT leg.from_place, leg.to_place, count(took) AS others,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS median
FROM unnest($2::integer[], $3::integer[]) AS leg(from_place, to_place)
CROSS JOIN LATERAL (
    SELECT arrival.first_read_at - departure.at AS took
    FROM (
        SELECT ours.tag_id, ours.first_read_at
        FROM point_streams AS there
        JOIN ranges ON ranges.stream_id = there.stream_id
        CROSS JOIN LATERAL (
            SELECT * FROM passings AS passing
            WHERE passing.stream_id = ranges.stream_id AND passing.stream_epoch = ranges.stream_epoch AND {MEETS}
            ORDER BY passing.first_read_at DESC
            LIMIT $5
        ) AS passing
        {OURS}
        WHERE there.race_id = $1 AND there.place = leg.to_place
        ORDER BY ours.first_read_at DESC
        LIMIT $5
    ) AS arrival
    CROSS JOIN LATERAL (
        SELECT max(CASE WHEN leg.from_place = 1 THEN passed.last_read_at ELSE passed.first_read_at END) AS at
        FROM point_streams AS here
        JOIN ranges ON ranges.stream_id = here.stream_id
        -- The cut before the limit: the one before it may have nothing on this side.
        CROSS JOIN LATERAL (
            SELECT ours.first_read_at, ours.last_read_at
            FROM passings AS passing
            {OURS}
            WHERE passing.stream_id = ranges.stream_id AND passing.stream_epoch = ranges.stream_epoch
              AND passing.tag_id = arrival.tag_id AND passing.first_read_at < arrival.first_read_at
              AND {MEETS} AND ours.first_read_at < arrival.first_read_at
            ORDER BY passing.first_read_at DESC, ours.first_read_at DESC
            LIMIT 1
        ) AS passed
        WHERE here.race_id = $1 AND here.place = leg.from_place
    ) AS departure
    WHERE arrival.tag_id <> ALL($4::text[]) AND departure.at < arrival.first_read_at
) AS travelled
GROUP BY leg.from_place, leg.to_place
"""  # noqa: S608 - of constants only

# $1: the race, $2 and $3: at which place around which time, $4: chips that are left out. What is left of a passing that
# a boundary cuts may begin later than it did, so of such epochs all are looked at that were not over by then.
CROWD = f"""
WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race($1))
SELECT minute.place, count(DISTINCT seen.tag_id) AS others
FROM (
    SELECT place, at - interval '30 s' AS begins, at + interval '30 s' AS ends
    FROM unnest($2::integer[], $3::timestamp[]) AS given(place, at)
) AS minute
JOIN point_streams AS here ON here.race_id = $1 AND here.place = minute.place
JOIN ranges ON ranges.stream_id = here.stream_id
CROSS JOIN LATERAL (
    SELECT tag_id FROM passings
    WHERE is_whole AND passings.stream_id = ranges.stream_id AND passings.stream_epoch = ranges.stream_epoch
      AND passings.first_read_at >= minute.begins AND passings.first_read_at < minute.ends
    UNION ALL
    SELECT ours.tag_id
    FROM passings AS passing
    {OURS}
    WHERE NOT is_whole AND passing.stream_id = ranges.stream_id AND passing.stream_epoch = ranges.stream_epoch
      AND passing.first_read_at < minute.ends AND passing.last_read_at >= minute.begins AND {MEETS}
      AND ours.first_read_at >= minute.begins AND ours.first_read_at < minute.ends
) AS seen
WHERE seen.tag_id <> ALL($4::text[])
GROUP BY minute.place
"""  # noqa: S608 - of constants only


class Travel(NamedTuple):
    """How many others went from one place to another, and how long the median of them took, in seconds."""

    others: int
    median_s: float


async def travel(
    pool: Pool, race_id: UUID, legs: Sequence[tuple[int, int]], *, without: Sequence[str]
) -> dict[tuple[int, int], Travel]:
    """Return how long others took from place to place; where nobody did, nothing."""
    with translated():
        rows = await pool.fetch(
            TRAVEL, race_id, [leg[0] for leg in legs], [leg[1] for leg in legs], without, TRAVELLED
        )
    return {
        (row["from_place"], row["to_place"]): Travel(row["others"], row["median"].total_seconds())
        for row in rows
    }


async def crowd(
    pool: Pool, race_id: UUID, minutes: Sequence[tuple[int, datetime]], *, without: Sequence[str]
) -> dict[int, int]:
    """Return how many others were seen at places in the minutes around some times; where nobody was, nothing."""
    with translated():
        rows = await pool.fetch(
            CROWD, race_id, [each[0] for each in minutes], [each[1] for each in minutes], without
        )
    return {row["place"]: row["others"] for row in rows}
