"""All SQL of the flow. Whoever comes by is told by passings; events are read of those alone that a boundary cuts."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.crossings.cut import MEETS, OURS
from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["CROSSED", "POINTS", "Bin", "Stand", "crossed", "points"]

# $1: the race. A row for each of its streams, with all that makes the flow another one: its point, what of it is of the
# race, how far its passings go, and of which filling they are. Cheap, so that it is asked before anybody counts. No
# row: there is no such race.
POINTS = """
SELECT races.roster_changed_at, streams.stream_id, point.place,
       coalesce(named.name,
                stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names()))) AS name,
       coalesce(progress.position, 0) AS position, of_race.ranges, progress.generation AS filling
FROM races
LEFT JOIN (
    streams
    LEFT JOIN (
        SELECT stream_id, string_agg(concat_ws('-', stream_epoch, from_seq, to_seq), ' '
                                     ORDER BY stream_epoch, from_seq) AS ranges
        FROM ranges_of_race($1) GROUP BY stream_id
    ) AS of_race USING (stream_id)
    LEFT JOIN point_streams AS point ON point.stream_id = streams.stream_id AND point.race_id = $1
    LEFT JOIN race_points AS named ON named.race_id = $1 AND named.place = point.place
    LEFT JOIN passings_progress AS progress ON progress.stream_id = streams.stream_id
) ON point.place IS NOT NULL OR of_race.ranges IS NOT NULL
WHERE races.race_id = $1
ORDER BY point.place NULLS LAST, streams.created_at, streams.stream_id
"""

# $1: the race, $2: how many bins there may be, $3: how long they may be, in seconds, the shortest first. `at` is a
# point's place, or a stream that has none. Each once at each point, at the first read there that is the race's.
# What is shown is around the middle one of all, as wide as the longest bins go: a reader
# of a wrong date must not make one bin of a whole race. Then the shortest bins that have room for it.
CROSSED = f"""
WITH ranges AS MATERIALIZED (SELECT stream_id, stream_epoch, from_seq, to_seq, is_whole FROM ranges_of_race($1)),
places AS MATERIALIZED (SELECT stream_id, place FROM point_streams WHERE race_id = $1),
seen AS MATERIALIZED (
    SELECT ranges.stream_id, passing.*
    FROM ranges
    -- OFFSET 0 keeps it what it is: along the key of each epoch. Nobody knows how many epochs a function will name, and
    -- a guess of many would go through the passings of all races there have ever been. Of epochs that nothing cuts,
    -- which are nearly all, no number is looked at.
    CROSS JOIN LATERAL (
        SELECT tag_id, first_read_at FROM passings
        WHERE is_whole AND passings.stream_id = ranges.stream_id AND passings.stream_epoch = ranges.stream_epoch
        UNION ALL
        SELECT ours.tag_id, ours.first_read_at
        FROM passings AS passing
        {OURS}
        WHERE NOT is_whole AND passing.stream_id = ranges.stream_id
          AND passing.stream_epoch = ranges.stream_epoch AND {MEETS}
        OFFSET 0
    ) AS passing
),
worn AS MATERIALIZED (SELECT chip_id, bib FROM chips WHERE race_id = $1 AND is_owner),
crossed AS MATERIALIZED (
    SELECT place, CASE WHEN place IS NULL THEN seen.stream_id END AS stream_id, min(first_read_at) AS first
    FROM seen LEFT JOIN places USING (stream_id) LEFT JOIN worn ON chip_id = tag_id
    GROUP BY place, CASE WHEN place IS NULL THEN seen.stream_id END, bib, CASE WHEN bib IS NULL THEN tag_id END
),
around AS MATERIALIZED (
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY first) AS middle,
           make_interval(secs => ($2::integer - 2) / 2 * max(length.s)) AS reach
    FROM crossed CROSS JOIN (SELECT max(s) AS s FROM unnest($3::integer[]) AS s) AS length
),
span AS MATERIALIZED (
    SELECT min(first) AS first, extract(epoch FROM max(first) - min(first)) AS seconds
    FROM crossed CROSS JOIN around
    WHERE first BETWEEN middle - reach AND middle + reach
),
bins AS MATERIALIZED (
    SELECT length.s, date_bin(make_interval(secs => length.s), span.first, timestamp '2000-01-01') AS begins_at
    FROM span CROSS JOIN unnest($3::integer[]) AS length(s)
    WHERE span.seconds < ($2 - 1) * length.s
    ORDER BY length.s LIMIT 1
)
SELECT coalesce(place::text, stream_id::text) AS at, begins_at, s AS bin_s, count(*) AS crossed,
       CASE WHEN first BETWEEN middle - reach AND middle + reach
            THEN floor(date_part('epoch', first - begins_at) / s)::integer END AS number
FROM crossed CROSS JOIN bins CROSS JOIN around
GROUP BY place, stream_id, begins_at, s, number
"""  # noqa: S608 - of constants only


class Stand(NamedTuple):
    """A stream of the race: what of it is counted at which point. filling: which one its passings are of."""

    stream_id: UUID
    place: int | None
    name: str
    position: int
    ranges: str | None
    filling: UUID | None

    @property
    def at(self) -> str:
        """The point that it is counted at."""
        return str(self.stream_id if self.place is None else self.place)


class Bin(NamedTuple):
    """How many came by a point in a bin; number: which one, None: at a time that is not shown."""

    at: str
    begins_at: datetime
    bin_s: int
    crossed: int
    number: int | None


async def points(pool: Pool, race_id: UUID) -> tuple[datetime | None, list[Stand]] | None:
    """Return since when the race has its people and chips, and its streams in the order of its course; None: it is not
    there.
    """
    with translated():
        rows = await pool.fetch(POINTS, race_id)
    if not rows:
        return None
    stands = [Stand(*tuple(row)[1:]) for row in rows if row["stream_id"] is not None]
    return rows[0]["roster_changed_at"], stands


async def crossed(pool: Pool, race_id: UUID, *, most: int, lengths: Sequence[int]) -> list[Bin]:
    """Return who came by when, at each point."""
    with translated():
        return [Bin(**row) for row in await pool.fetch(CROSSED, race_id, most, lengths)]
