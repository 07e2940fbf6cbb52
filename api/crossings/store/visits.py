"""When people were seen before, at every point of their race, up to the last read that is stored."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api.crossings.cut import newest_of_chip
from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["MOST", "SEEN", "seen"]

# Of one chip, the newest; and of a stream so many events that are not in passings yet.
MOST = 200
UNFILLED = 1_000

# $1, $2: people, by race and bib, each once. Each step is a look by a key. What is stored and not yet in passings (they
# come a moment behind) is looked at itself, each read as a passing of its own: both of one moment, so nothing is there
# twice, and nothing is left out. Whole rows of events are not fetched for it. Where that is not all there is, it says
# so: which points have a stream with more than so many (behind), and whether a chip came by more often than that.
SEEN = f"""
WITH given AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::integer[]) AS given(race_id, bib)),
ranges AS MATERIALIZED (
    SELECT race_id, of.stream_id, of.stream_epoch, of.from_seq, of.to_seq
    FROM (SELECT DISTINCT race_id FROM given) AS races
    CROSS JOIN LATERAL ranges_of_race(races.race_id) AS of
),
standing AS MATERIALIZED (
    SELECT ranges.*, point.place, coalesce(point.place::text, ranges.stream_id::text) AS at,
           coalesce(named.name, (SELECT stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names()))
                                 FROM streams WHERE streams.stream_id = ranges.stream_id)) AS name,
           (SELECT count(*) FROM race_points AS one WHERE one.race_id = ranges.race_id)::integer AS places
    FROM ranges
    LEFT JOIN point_streams AS point ON point.stream_id = ranges.stream_id AND point.race_id = ranges.race_id
    LEFT JOIN race_points AS named ON named.race_id = ranges.race_id AND named.place = point.place
),
behind AS MATERIALIZED (
    SELECT race_id, at
    FROM standing JOIN streams USING (stream_id) LEFT JOIN passings_progress AS progress USING (stream_id)
    WHERE last_position - coalesce(progress.position, 0) > {UNFILLED}
),
worn AS MATERIALIZED (
    SELECT given.race_id, given.bib, chip.chip_id AS tag_id,
           ARRAY(SELECT at FROM behind WHERE behind.race_id = given.race_id) AS behind
    FROM given
    CROSS JOIN LATERAL (
        SELECT chip_id FROM chips
        WHERE chips.race_id = given.race_id AND chips.bib = given.bib AND is_owner OFFSET 0
    ) AS chip
)
SELECT worn.race_id, worn.bib, worn.behind, of_chip.*
FROM worn
CROSS JOIN LATERAL (
    SELECT count(*) OVER () >= {MOST} AS is_cut, standing.at, standing.place, standing.name, standing.places, of_epoch.*
    FROM standing
    CROSS JOIN LATERAL (
        {newest_of_chip("standing", "worn.tag_id", str(MOST))}
    ) AS of_epoch
    WHERE standing.race_id = worn.race_id
    ORDER BY of_epoch.first_read_at DESC
    LIMIT {MOST}
) AS of_chip
UNION ALL
SELECT worn.race_id, worn.bib, worn.behind, false, standing.at, standing.place, standing.name, standing.places,
       read.stream_id, read.stream_epoch, read.tag_id, read_at, seq, read_at, seq, seq, seq, 1, read.position
FROM (SELECT DISTINCT stream_id FROM standing) AS streams
LEFT JOIN passings_progress AS progress ON progress.stream_id = streams.stream_id
CROSS JOIN LATERAL (
    SELECT events.stream_id, events.stream_epoch, tag_id, read_at, seq, position FROM events
    WHERE events.stream_id = streams.stream_id AND position > coalesce(progress.position, 0)
    ORDER BY position DESC LIMIT {UNFILLED}
) AS read
JOIN worn ON worn.tag_id = read.tag_id
JOIN standing ON standing.race_id = worn.race_id AND standing.stream_id = read.stream_id
             AND standing.stream_epoch = read.stream_epoch
WHERE read_at IS NOT NULL AND seq >= from_seq AND (to_seq IS NULL OR seq < to_seq)
"""  # noqa: S608 - of constants only


async def seen(database: Statements, people: Sequence[tuple[UUID, int]]) -> list[tuple[Any, ...]]:
    """Return of people: race and bib, at which points of it not all is known yet, whether there is more of the chip,
    the point (what it is known by, its place, its name, how many places there are), and a passing, its columns in
    their order.
    """
    columns = [list(column) for column in zip(*people, strict=True)]
    with translated():
        return [tuple(row) for row in await database.fetch(SEEN, *columns)]
