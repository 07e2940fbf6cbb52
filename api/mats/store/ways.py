"""What passings say of the way from one point to the next, and of mats that stand side by side."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.crossings.cut import MEETS
from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["SHARES", "WAYS", "Share", "Way", "shares", "ways"]

# Who came last says how long it takes, and how often somebody comes.
LATEST = 300
# How far back whoever is on the way may have left: of those who are through nearly all, and half as much again.
NEARLY_ALL, REACH, AT_LEAST = 0.9, 1.5, "10 minutes"
# Twins are compared by so many chips that came last; reads of the last moments may be on their way from one of them.
TWINS, SETTLED = 200, "10 s"

# $1: the race, $2 and $3: to which places from which, $4: of those who left there one in so many, $5: its first place.
#
# All times are seconds since the newest read of the point, by the mats' own clocks: what is compared is compared with
# what was taken by the same two. A point's newest read is the one of its mats that was stored last, whatever its time
# says: whom a memory has seen has come, but long before it is brought. When
# somebody leaves the start counts there, when somebody comes counts elsewhere, as in crossings. A passing that a
# boundary cuts counts whole. Of people with several chips all chips are hers, by owner; the sample is of chips.
WAYS = f"""
WITH ranges AS MATERIALIZED (SELECT stream_id, stream_epoch, from_seq, to_seq FROM ranges_of_race($1)),
standing AS MATERIALIZED (
    SELECT place, ranges.*, NOT is_memory(reader_ip) AS is_mat
    FROM ranges
    JOIN point_streams AS point ON point.race_id = $1 AND point.stream_id = ranges.stream_id
    JOIN streams ON streams.stream_id = ranges.stream_id
),
ways AS MATERIALIZED (
    SELECT way.*, newest.*
    FROM unnest($2::integer[], $3::integer[], $4::integer[]) AS way(place, from_place, one_in)
    CROSS JOIN LATERAL (
        SELECT event.received_at AS newest_at, last_read_at AS read_at
        FROM standing
        CROSS JOIN LATERAL (
            SELECT passings.stream_id, passings.stream_epoch, passings.position, last_read_at FROM passings
            WHERE passings.stream_id = standing.stream_id
            ORDER BY passings.position DESC LIMIT 1
        ) AS passing
        JOIN events AS event ON event.stream_id = passing.stream_id AND event.position = passing.position
        WHERE standing.place = way.place AND passing.stream_epoch = standing.stream_epoch AND standing.is_mat
        ORDER BY event.received_at DESC LIMIT 1
    ) AS newest
),
came AS MATERIALIZED (
    SELECT way.place, arrival.tag_id, arrival.first_read_at
    FROM ways AS way
    CROSS JOIN LATERAL (
        SELECT passing.tag_id, passing.first_read_at
        FROM standing
        CROSS JOIN LATERAL (
            SELECT passing.tag_id, passing.first_read_at FROM passings AS passing
            WHERE passing.stream_id = standing.stream_id AND passing.stream_epoch = standing.stream_epoch
              AND passing.first_read_at <= way.read_at AND {MEETS}
            ORDER BY passing.first_read_at DESC LIMIT {LATEST}
        ) AS passing
        WHERE standing.place = way.place
        ORDER BY passing.first_read_at DESC LIMIT {LATEST}
    ) AS arrival
),
reach AS MATERIALIZED (
    SELECT way.place, count(*) AS through,
           percentile_disc({NEARLY_ALL}) WITHIN GROUP (ORDER BY came.first_read_at - departure.at) * {REACH}
               + interval '{AT_LEAST}' AS back
    FROM ways AS way
    JOIN came USING (place)
    CROSS JOIN LATERAL (
        SELECT max(passed.first_read_at) AS at
        FROM standing
        CROSS JOIN LATERAL (
            SELECT passing.first_read_at FROM passings AS passing
            WHERE passing.stream_id = standing.stream_id AND passing.stream_epoch = standing.stream_epoch
              AND passing.tag_id = came.tag_id AND passing.first_read_at < came.first_read_at AND {MEETS}
            ORDER BY passing.first_read_at DESC LIMIT 1
        ) AS passed
        WHERE standing.place = way.from_place
    ) AS departure
    WHERE departure.at IS NOT NULL
    GROUP BY way.place
),
passed AS MATERIALIZED (
    SELECT way.place, standing.place = way.from_place AS is_before, passing.*,
           coalesce('bib ' || owner.bib, passing.tag_id) AS who
    FROM ways AS way
    JOIN reach USING (place)
    JOIN standing ON standing.place IN (way.from_place, way.place)
    CROSS JOIN LATERAL (
        SELECT passing.tag_id, passing.first_read_at, passing.last_read_at FROM passings AS passing
        WHERE passing.stream_id = standing.stream_id AND passing.stream_epoch = standing.stream_epoch
          AND passing.first_read_at >= way.read_at - reach.back AND {MEETS}
          AND hashtext(passing.tag_id) & 2147483647 < 2147483647 / way.one_in
        OFFSET 0
    ) AS passing
    LEFT JOIN LATERAL (
        SELECT bib FROM chips WHERE chips.race_id = $1 AND chip_id = passing.tag_id AND is_owner LIMIT 1
    ) AS owner ON true
),
arrived AS MATERIALIZED (
    SELECT place, who, min(first_read_at) AS at FROM passed WHERE NOT is_before GROUP BY place, who
),
-- Who came by twice left the last time before she came.
runners AS MATERIALIZED (
    SELECT place, who, min(tag_id) AS tag_id, arrived.at AS arrived_at,
           CASE WHEN way.from_place = $5 THEN max(last_read_at) ELSE min(first_read_at) END AS crossed_at
    FROM passed JOIN ways AS way USING (place) LEFT JOIN arrived USING (place, who)
    WHERE is_before AND (arrived.at IS NULL OR first_read_at < arrived.at)
    GROUP BY place, who, arrived.at, way.from_place
)
SELECT way.place, way.newest_at, coalesce(reach.through, 0) AS through, runner.*,
       ARRAY(SELECT extract(epoch FROM min(first_read_at) - way.read_at)::float FROM came
             WHERE came.place = way.place GROUP BY tag_id ORDER BY 1) AS came
FROM ways AS way
LEFT JOIN reach USING (place)
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(extract(epoch FROM crossed_at - way.read_at)::float), '{{}}') AS crossed,
           coalesce(array_agg(extract(epoch FROM crossed_at - began.at)::float), '{{}}') AS own,
           coalesce(array_agg(extract(epoch FROM arrived_at - crossed_at)::float), '{{}}') AS took
    FROM runners
    LEFT JOIN LATERAL (
        SELECT max(passing.last_read_at) AS at
        FROM standing
        CROSS JOIN LATERAL (
            SELECT passing.last_read_at FROM passings AS passing
            WHERE passing.stream_id = standing.stream_id AND passing.stream_epoch = standing.stream_epoch
              AND passing.tag_id = runners.tag_id AND passing.first_read_at < runners.crossed_at
            ORDER BY passing.first_read_at DESC LIMIT 1
        ) AS passing
        WHERE standing.place = $5 AND way.from_place > $5
    ) AS began ON true
    WHERE runners.place = way.place
) AS runner
"""  # noqa: S608 - of constants only

# $1: the race, $2: places of several mats, of which what a memory had is none. Of each the chips that came last, and
# which mat has seen them.
SHARES = f"""
WITH standing AS MATERIALIZED (
    SELECT place, ranges.*
    FROM ranges_of_race($1) AS ranges
    JOIN point_streams AS point ON point.race_id = $1 AND point.stream_id = ranges.stream_id
    JOIN streams ON streams.stream_id = ranges.stream_id
    WHERE place = ANY($2::integer[]) AND NOT is_memory(reader_ip)
),
latest AS MATERIALIZED (
    SELECT standing.place, standing.stream_id, passing.*
    FROM standing
    CROSS JOIN LATERAL (
        SELECT passing.tag_id, passing.first_read_at FROM passings AS passing
        WHERE passing.stream_id = standing.stream_id AND passing.stream_epoch = standing.stream_epoch AND {MEETS}
        ORDER BY passing.first_read_at DESC LIMIT {2 * TWINS}
    ) AS passing
),
chips AS MATERIALIZED (
    SELECT place, tag_id, array_agg(DISTINCT stream_id) AS seen_by,
           row_number() OVER (PARTITION BY place ORDER BY min(first_read_at) DESC, tag_id) AS number
    FROM (SELECT *, max(first_read_at) OVER (PARTITION BY place) AS newest FROM latest) AS latest
    WHERE first_read_at <= newest - interval '{SETTLED}'
    GROUP BY place, tag_id
)
SELECT stands.place, stands.stream_id, count(chips.tag_id) FILTER (WHERE stands.stream_id = ANY(seen_by)) AS seen,
       count(chips.tag_id) AS chips
FROM (SELECT DISTINCT place, stream_id FROM standing) AS stands
LEFT JOIN chips ON chips.place = stands.place AND number <= {TWINS}
GROUP BY stands.place, stands.stream_id
"""  # noqa: S608 - of constants only


class Way(NamedTuple):
    """What is known of the way to a point, in seconds since its newest read: of whoever was at the point before when
    she was there, how long she was on her way by then, and how long she took; and when those came who came last.
    """

    place: int
    newest_at: datetime
    through: int
    crossed: Sequence[float]
    own: Sequence[float | None]
    took: Sequence[float | None]
    came: Sequence[float]


class Share(NamedTuple):
    """Of so many chips that came last at a point, how many a mat has seen."""

    place: int
    stream_id: UUID
    seen: int
    chips: int


async def ways(
    connection: Connection, race_id: UUID, wanted: Sequence[tuple[int, int, int]], *, first: int
) -> list[Way]:
    """Return the ways to places from places, of one in so many people; of those where nothing was read yet, nothing."""
    columns = [[each[at] for each in wanted] for at in range(3)]
    with translated():
        return [Way(**row) for row in await connection.fetch(WAYS, race_id, *columns, first)]


async def shares(connection: Connection, race_id: UUID, places: Sequence[int]) -> list[Share]:
    """Return what each mat of points of several mats has seen."""
    with translated():
        return [Share(**row) for row in await connection.fetch(SHARES, race_id, places)]
