"""What others tell of somebody: how long it takes from place to place, and who was there when she was not."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["CROWD", "TRAVEL", "Travel", "crowd", "travel"]

# Those who came last at a point say how long it takes to get there.
TRAVELLED = 300

# $1: the race, $2 and $3: from which place to which, $4: chips that are left out, $5: of so many who came last. When
# somebody leaves the start counts there, when somebody comes counts elsewhere, as in crossings.
TRAVEL = """
WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race($1))
SELECT leg.from_place, leg.to_place, count(took) AS others,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS median
FROM unnest($2::integer[], $3::integer[]) AS leg(from_place, to_place)
CROSS JOIN LATERAL (
    SELECT arrival.first_read_at - departure.at AS took
    FROM point_streams AS there
    CROSS JOIN LATERAL (
        SELECT stream_epoch, tag_id, first_read_at, first_seq FROM passings
        WHERE (passings.stream_id, passings.first_read_at) <= (there.stream_id, timestamp 'infinity')
          AND (passings.stream_id, passings.first_read_at) >= (there.stream_id, timestamp '-infinity')
        ORDER BY passings.stream_id DESC, passings.first_read_at DESC
        LIMIT $5
    ) AS arrival
    JOIN ranges ON ranges.stream_id = there.stream_id AND ranges.stream_epoch = arrival.stream_epoch
        AND arrival.first_seq >= ranges.from_seq AND (ranges.to_seq IS NULL OR arrival.first_seq < ranges.to_seq)
    CROSS JOIN LATERAL (
        SELECT max(CASE WHEN leg.from_place = 1 THEN passed.last_read_at ELSE passed.first_read_at END) AS at
        FROM point_streams AS here
        JOIN ranges AS earlier ON earlier.stream_id = here.stream_id
        CROSS JOIN LATERAL (
            SELECT first_read_at, last_read_at, first_seq FROM passings
            WHERE (passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
                      < (earlier.stream_id, earlier.stream_epoch, arrival.tag_id, arrival.first_read_at)
              AND (passings.stream_id, passings.stream_epoch, passings.tag_id, passings.first_read_at)
                      >= (earlier.stream_id, earlier.stream_epoch, arrival.tag_id, timestamp '-infinity')
            ORDER BY passings.stream_id DESC, passings.stream_epoch DESC, passings.tag_id DESC,
                     passings.first_read_at DESC
            LIMIT 1
        ) AS passed
        WHERE here.race_id = $1 AND here.place = leg.from_place
          AND passed.first_seq >= earlier.from_seq AND (earlier.to_seq IS NULL OR passed.first_seq < earlier.to_seq)
    ) AS departure
    WHERE there.race_id = $1 AND there.place = leg.to_place AND arrival.tag_id <> ALL($4::text[])
      AND departure.at < arrival.first_read_at
) AS travelled
GROUP BY leg.from_place, leg.to_place
"""

# $1: the race, $2 and $3: at which place around which time, $4: chips that are left out.
CROWD = """
WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race($1))
SELECT minute.place, count(DISTINCT passing.tag_id) AS others
FROM unnest($2::integer[], $3::timestamp[]) AS minute(place, at)
JOIN point_streams AS here ON here.race_id = $1 AND here.place = minute.place
CROSS JOIN LATERAL (
    SELECT stream_epoch, tag_id, first_seq FROM passings
    WHERE (passings.stream_id, passings.first_read_at) >= (here.stream_id, minute.at - interval '30 s')
      AND (passings.stream_id, passings.first_read_at) < (here.stream_id, minute.at + interval '30 s')
    ORDER BY passings.stream_id, passings.first_read_at
) AS passing
JOIN ranges ON ranges.stream_id = here.stream_id AND ranges.stream_epoch = passing.stream_epoch
    AND passing.first_seq >= ranges.from_seq AND (ranges.to_seq IS NULL OR passing.first_seq < ranges.to_seq)
WHERE passing.tag_id <> ALL($4::text[])
GROUP BY minute.place
"""


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
