"""Passings of a race at its points, as crossings are made of them.

A point is known by its place in the course, as text, or where a stream stands at none by the stream's id: `at`. Whose a
chip is says its owner in the race, so all chips of a bib come together, and one that nobody owns is by itself.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from api.crossings.crossing import KEPT, Passing, ReadAt, rule_at
from api.crossings.cut import MEETS, OURS, newest_of_chip
from api.crossings.people import At, Passed, Subject
from shared.db.connections import Connection, Statements
from shared.db.errors import translated

__all__ = [
    "ALL",
    "MOST_PASSINGS",
    "NEWEST",
    "OF_PEOPLE",
    "POINTS",
    "RUNS",
    "STANDING",
    "Course",
    "Mark",
    "NoSuchRace",
    "all_passed",
    "chips_of",
    "course",
    "newest",
    "of_people",
]

# Of one chip at once: beyond it lies what a device makes up, or a chip that lies on a mat all day. Of such a one so
# many are gone through, some hours at one a second, and so many pieces are made of them.
MOST_PASSINGS = 500
GONE_THROUGH = 20_000
MOST_PIECES = 2_000
# Of an export, between two turns of the event loop: some ten milliseconds.
PREFETCHED = 250

# $1: the race. What of which epochs is of it, and where that stands.
STANDING = """
ranges AS MATERIALIZED (
    SELECT stream_id, stream_epoch, from_seq, to_seq, is_whole FROM ranges_of_race($1)
),
standing AS MATERIALIZED (
    SELECT ranges.*, place, coalesce(place::text, ranges.stream_id::text) AS at
    FROM ranges
    LEFT JOIN point_streams AS point ON point.stream_id = ranges.stream_id AND point.race_id = $1
)
"""

# What of a race makes its crossings others, all at once: people and chips, the course, and which reads are its own.
_MARK = f"""
WITH {STANDING}
SELECT name, roster_changed_at, course_changed_at,
       (SELECT md5(string_agg(concat_ws(' ', stream_id, stream_epoch, from_seq, to_seq, at), ','
                              ORDER BY stream_id, stream_epoch, from_seq))
        FROM standing) AS standing
FROM races WHERE race_id = $1
"""  # noqa: S608 - of constants only

POINTS = f"""
WITH {STANDING}
SELECT place::text AS at, place, name FROM race_points WHERE race_id = $1
UNION ALL
SELECT streams.stream_id::text, NULL,
       stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names()))
FROM streams
WHERE (streams.stream_id IN (SELECT stream_id FROM standing)
       OR forwarder_id IN (SELECT forwarder_id FROM forwarder_races WHERE race_id = $1))
  AND NOT EXISTS (SELECT FROM point_streams AS point
                  WHERE point.race_id = $1 AND point.stream_id = streams.stream_id)
"""  # noqa: S608 - of constants only

# The passings that began last, before a place in the order of reads ($3 to $6), $7 of them, of all points or of one
# ($2). Each stream has them by time, so as many are looked at as are wanted; where a boundary cuts an epoch all of its
# part are, because what is left of a passing may begin later than the passing.
NEWEST = f"""
WITH {STANDING}
SELECT at, found.*
FROM standing
CROSS JOIN LATERAL (
    (SELECT tag_id, first_read_at, passing.stream_id, passing.stream_epoch, first_seq
     FROM passings AS passing
     WHERE is_whole AND passing.stream_id = standing.stream_id AND passing.stream_epoch = standing.stream_epoch
       AND first_read_at <= $3
       AND (first_read_at, passing.stream_id, passing.stream_epoch, first_seq) < ($3, $4, $5, $6)
     ORDER BY first_read_at DESC, first_seq DESC
     LIMIT $7)
    UNION ALL
    (SELECT ours.tag_id, ours.first_read_at, ours.stream_id, ours.stream_epoch, ours.first_seq
     FROM passings AS passing
     {OURS}
     WHERE NOT is_whole AND passing.stream_id = standing.stream_id
       AND passing.stream_epoch = standing.stream_epoch AND {MEETS}
       AND (ours.first_read_at, ours.stream_id, ours.stream_epoch, ours.first_seq) < ($3, $4, $5, $6)
     ORDER BY ours.first_read_at DESC, ours.first_seq DESC
     LIMIT $7)
) AS found
WHERE $2::text IS NULL OR at = $2
ORDER BY first_read_at DESC, stream_id DESC, stream_epoch DESC, first_seq DESC
LIMIT $7
"""  # noqa: S608 - of constants only

# All passings of those whose chips $3 are at the points $2 (null: at all): of each chip the newest $4 of the race
# there, whatever it did elsewhere. Each step is a look by a key, and each by itself: joined in one go, the passings of
# all chips would be gone through. In an order, so that every process tells the same, whichever way its plan goes.
OF_PEOPLE = f"""
WITH {STANDING},
wanted AS MATERIALIZED (
    SELECT DISTINCT given.at, owner.bib, CASE WHEN owner.bib IS NULL THEN given.tag_id END AS tag_id
    FROM unnest($2::text[], $3::text[]) AS given(at, tag_id)
    LEFT JOIN LATERAL (
        SELECT bib FROM chips WHERE chips.race_id = $1 AND chip_id = given.tag_id AND is_owner LIMIT 1
    ) AS owner ON true
),
worn AS MATERIALIZED (
    SELECT wanted.at, wanted.bib, wanted.tag_id FROM wanted WHERE wanted.tag_id IS NOT NULL
    UNION ALL
    SELECT wanted.at, wanted.bib, chip_id
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT chip_id FROM chips WHERE chips.race_id = $1 AND chips.bib = wanted.bib AND is_owner OFFSET 0
    ) AS chip
    WHERE wanted.bib IS NOT NULL
)
SELECT of_chip.*
FROM worn
CROSS JOIN LATERAL (
    SELECT standing.at, worn.bib, worn.at AS wanted_at, of_epoch.*
    FROM standing
    CROSS JOIN LATERAL (
        {newest_of_chip("standing", "worn.tag_id", "$4")}
    ) AS of_epoch
    WHERE worn.at IS NULL OR standing.at = worn.at
    ORDER BY of_epoch.first_read_at DESC
    LIMIT $4
) AS of_chip
ORDER BY first_read_at, stream_id, stream_epoch, first_seq
"""  # noqa: S608 - of constants only

# The same of chips $3 of bibs $4 that came by more often than that, as one does that lies on a mat: in runs of passings
# that are less than $5 apart, of each the first and the last KEPT, which explain it, and what lies between as one. So a
# crossing begins where it began, however long it lasts. Of each chip the newest $6 passings are gone through, and $7
# pieces told.
RUNS = f"""
WITH {STANDING}
SELECT standing.at, worn.bib, worn.at AS wanted_at, piece.*
FROM unnest($2::text[], $3::text[], $4::integer[]) AS worn(at, tag_id, bib)
JOIN standing ON worn.at IS NULL OR standing.at = worn.at
CROSS JOIN LATERAL (
    SELECT stream_id, stream_epoch, tag_id,
           min(first_read_at) AS first_read_at,
           (array_agg(first_seq ORDER BY first_read_at, first_seq))[1] AS first_seq,
           max(last_read_at) AS last_read_at,
           (array_agg(last_seq ORDER BY last_read_at DESC, last_seq DESC))[1] AS last_seq,
           min(low_seq) AS low_seq, max(high_seq) AS high_seq, sum(reads)::integer AS reads, max(position) AS position
    FROM (
        SELECT *, row_number() OVER (PARTITION BY run ORDER BY first_read_at, first_seq) AS from_first,
               row_number() OVER (PARTITION BY run ORDER BY first_read_at DESC, first_seq DESC) AS from_last
        FROM (
            SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY first_read_at, first_seq) AS run
            FROM (
                SELECT *, first_read_at - max(last_read_at) OVER (ORDER BY first_read_at, first_seq
                              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) >= $5 AS begins
                FROM (
                    {newest_of_chip("standing", "worn.tag_id", "$6")}
                ) AS passing
            ) AS apart
        ) AS in_runs
    ) AS placed
    GROUP BY stream_id, stream_epoch, tag_id, run,
             CASE WHEN from_first <= {KEPT} THEN from_first WHEN from_last <= {KEPT} THEN -from_last END
    ORDER BY first_read_at DESC
    LIMIT $7
) AS piece
ORDER BY first_read_at, stream_id, stream_epoch, first_seq
"""  # noqa: S608 - of constants only

# All of a race, in course order, those of one person at one point together and in the order of time; of one point $2.
ALL = f"""
WITH {STANDING}
SELECT standing.at, owner.bib, person.last_name, person.first_name, ours.*
FROM standing
JOIN passings AS passing USING (stream_id, stream_epoch)
{OURS}
LEFT JOIN chips AS owner ON owner.race_id = $1 AND owner.chip_id = passing.tag_id AND owner.is_owner
LEFT JOIN participants AS person ON person.race_id = $1 AND person.bib = owner.bib
WHERE ($2::text IS NULL OR standing.at = $2) AND {MEETS}
  AND ($3::integer IS NULL OR owner.bib = $3)
ORDER BY place NULLS LAST, standing.at, owner.bib NULLS LAST, CASE WHEN owner.bib IS NULL THEN ours.tag_id END,
         ours.first_read_at, ours.stream_id, ours.stream_epoch, ours.first_seq
"""  # noqa: S608 - of constants only

_CHIPS = "SELECT chip_id FROM chips WHERE race_id = $1 AND bib = $2 AND is_owner"


class NoSuchRace(Exception):
    """There is no race of this id."""


class Mark(NamedTuple):
    """What is another when all crossings may be."""

    name: str
    roster_changed_at: datetime | None
    course_changed_at: datetime | None
    standing: str | None


class Course(NamedTuple):
    """A race's points, by what they are known by."""

    mark: Mark
    points: Mapping[str, At]


async def course(database: Statements, race_id: UUID) -> Course:
    """Return the points of a race, also those where nobody has come by. NoSuchRace."""
    with translated():
        # First: who takes the points for those of this mark may have newer ones, never older ones.
        mark = await database.fetchrow(_MARK, race_id)
        rows = await database.fetch(POINTS, race_id)
    if mark is None:
        raise NoSuchRace
    places = sum(row["place"] is not None for row in rows)
    points = [At(row["at"], row["place"], row["name"], rule_at(row["place"], places=places)) for row in rows]
    return Course(Mark(*mark), {each.at: each for each in points})


async def newest(
    database: Statements, race_id: UUID, at: str | None, *, before: ReadAt, limit: int
) -> list[tuple[str, str, ReadAt]]:
    """Return point, chip and first read of the passings that began last before a read, the newest first."""
    with translated():
        rows = await database.fetch(NEWEST, race_id, at, *before, limit)
    return [(row["at"], row["tag_id"], ReadAt(*tuple(row)[2:])) for row in rows]


async def chips_of(database: Statements, race_id: UUID, bib: int) -> list[str]:
    """Return the chips that somebody owns."""
    with translated():
        return [row["chip_id"] for row in await database.fetch(_CHIPS, race_id, bib)]


async def of_people(
    database: Statements, race_id: UUID, wanted: Sequence[tuple[str | None, str]], *, gap: timedelta
) -> list[Passed]:
    """Return all passings of those whose chips these are, each at a point; None: at all of them. What is less than the
    gap apart may be told as one, of a chip that was read all day.
    """
    if not wanted:
        return []
    once = list(dict.fromkeys(wanted))
    columns = [[each[at] for each in once] for at in range(2)]
    with translated():
        rows = await database.fetch(OF_PEOPLE, race_id, *columns, MOST_PASSINGS)
        found = Counter((row["wanted_at"], row["tag_id"], row["bib"]) for row in rows)
        often = [whose for whose, passings in found.items() if passings >= MOST_PASSINGS]
        if often:
            rows = [row for row in rows if (row["wanted_at"], row["tag_id"], row["bib"]) not in often]
            chips = [[each[at] for each in often] for at in range(3)]
            rows += await database.fetch(RUNS, race_id, *chips, gap, GONE_THROUGH, MOST_PIECES)
    return [_passed(row["at"], row["bib"], tuple(row)[3:]) for row in rows]


async def all_passed(
    connection: Connection, race_id: UUID, at: str | None, bib: int | None
) -> AsyncIterator[tuple[Passed, tuple[str | None, str | None]]]:
    """Yield all passings of a race with last and first names, those of one person at one point together, in the order
    of time; within a transaction.
    """
    with translated():
        async for row in connection.cursor(ALL, race_id, at, bib, prefetch=PREFETCHED):
            yield _passed(row["at"], row["bib"], tuple(row)[4:]), (row["last_name"], row["first_name"])


def _passed(at: str, bib: int | None, columns: tuple[Any, ...]) -> Passed:
    passing = Passing(*columns)
    return Passed(at, Subject(bib, passing.tag_id if bib is None else None), passing)
