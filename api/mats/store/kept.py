"""What was made of points, as it is kept: for the rules that go by it, for the strip, and for the next look."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from api.mats.silence import due_within
from api.mats.store.ways import Share
from shared.db.connections import Connection, Statements
from shared.db.errors import translated

__all__ = [
    "LOOKED_LATELY",
    "POINTS",
    "WATCHED_STREAMS",
    "Point",
    "Travel",
    "Watch",
    "due_now",
    "keep",
    "keep_shares",
    "points",
    "seen_by_mats",
    "take_turn",
    "travels",
]

# A look that is older than that says nothing any more; whoever goes by it takes the simple rule.
LOOKED_LATELY = "looked_at > now() - interval '3 minutes'"
# Streams that stand at a point of a race with several: whether they are silent says who is due there.
WATCHED_STREAMS = f"""
SELECT DISTINCT unnest(stream_ids) AS stream_id FROM point_watches
WHERE race_id IN (SELECT race_id FROM point_watches WHERE {LOOKED_LATELY} GROUP BY race_id HAVING count(*) > 1)
"""  # noqa: S608 - of constants only

# One process at a time, for as long as its transaction lasts ("rtmt").
_TAKE_TURN = "SELECT pg_try_advisory_xact_lock(x'72746d74'::integer, 0)"

# The points of races with streams whose next read is the race's, where something was read within a week: until then
# a stream is waited for (stream_facts.py), and a race that is over stays calm. Of mats alone: what a reader's memory
# had comes whenever somebody brings it. A race
# whose gun is to come has no point that is open. filled: how far passings go, and of which filling they are: while all
# of a race's points have the same nothing has changed.
POINTS = """
SELECT point.race_id, point.place, point.name || ' · ' || races.name AS title,
       point.closed_at IS NOT NULL OR coalesce(point.closes_at <= now(), false) OR coalesce(races.gun_at > now(), false)
           OR bool_and(closed.stream_id IS NOT NULL) AS closed,
       array_agg(streams.stream_id ORDER BY streams.stream_id) AS stream_ids,
       bool_or(read.received_at IS NOT NULL) AS has_reads,
       extract(epoch FROM now() - max(read.received_at))::float AS silent_s,
       string_agg(concat_ws(' ', streams.stream_id, stream_epoch, progress.position, progress.generation), ','
                  ORDER BY streams.stream_id) AS filled,
       min(watch.made_of) AS made_of, extract(epoch FROM now() - min(watch.made_at))::float AS made_s,
       coalesce(min(watch.one_in), 1) AS one_in, min(watch.through) AS through,
       bool_or(forwarder_id IN (SELECT forwarder_id FROM live_forwarder_sessions)) AS online,
       EXISTS (SELECT FROM troubles WHERE subject_kind = 'point' AND ended_at IS NULL
                                      AND subject_id = point.race_id || '/' || point.place) AS told
FROM race_points AS point
JOIN races USING (race_id)
LEFT JOIN point_watches AS watch USING (race_id, place)
JOIN point_streams AS stands USING (race_id, place)
JOIN streams USING (stream_id)
LEFT JOIN stream_metrics AS epoch USING (stream_id, stream_epoch)
LEFT JOIN passings_progress AS progress USING (stream_id)
LEFT JOIN closed_streams AS closed USING (stream_id)
CROSS JOIN LATERAL race_of_read(streams.stream_id, stream_epoch, coalesce(epoch.last_seq, 0) + 1) AS next_read
CROSS JOIN LATERAL (
    SELECT max(last_received_at) AS received_at
    FROM stream_metrics AS stored
    CROSS JOIN LATERAL race_of_read(stored.stream_id, stored.stream_epoch, stored.last_seq) AS was
    WHERE stored.stream_id = streams.stream_id AND dedup_count > 0 AND last_received_at > now() - interval '7 days'
      AND was.race_id = point.race_id
) AS read
WHERE next_read.race_id = point.race_id AND NOT is_memory(reader_ip)
  AND EXISTS (SELECT FROM point_streams AS one JOIN streams AS its USING (stream_id)
              JOIN stream_metrics USING (stream_id)
              WHERE one.race_id = point.race_id AND NOT is_memory(its.reader_ip)
                AND last_received_at > now() - interval '7 days')
GROUP BY point.race_id, point.place, races.race_id
ORDER BY point.race_id, point.place
"""

_KEEP = """
INSERT INTO point_watches AS known (race_id, place, title, stream_ids, closed, made_of, one_in, from_place,
                                    through, newest_at, usual_gap_s, due, surely_due, due_in_all, travel_s, arrive)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (race_id, place) DO UPDATE
SET looked_at = now(), made_at = now(), made_of = excluded.made_of, one_in = excluded.one_in,
    title = excluded.title, stream_ids = excluded.stream_ids, closed = excluded.closed,
    from_place = excluded.from_place,
    through = excluded.through, newest_at = excluded.newest_at,
    usual_gap_s = excluded.usual_gap_s, due = excluded.due, surely_due = excluded.surely_due,
    due_in_all = excluded.due_in_all, travel_s = excluded.travel_s, arrive = excluded.arrive
"""
# What was looked at and is as it was holds for another while; what is cheap to tell is told anew. All else is of
# nothing that is watched, and a mat that has no twin any more is compared with none.
_STILL = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS given(
        race_id uuid, place integer, title text, closed boolean, stream_ids uuid[])
),
still AS (
    UPDATE point_watches AS known
    SET looked_at = now(), title = given.title, closed = given.closed, stream_ids = given.stream_ids
    FROM given
    WHERE known.race_id = given.race_id AND known.place = given.place AND known.looked_at < now()
),
gone AS (
    DELETE FROM mat_shares AS share
    WHERE NOT EXISTS (SELECT FROM given WHERE given.race_id = share.race_id AND given.place = share.place
                                          AND share.stream_id = ANY(given.stream_ids) AND cardinality(stream_ids) > 1)
)
DELETE FROM point_watches AS known
WHERE NOT EXISTS (SELECT FROM given WHERE given.race_id = known.race_id AND given.place = known.place)
"""
_TOLD_ANEW = ("race_id", "place", "title", "closed", "stream_ids")
_KEEP_SHARES = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS given(
        stream_id uuid, race_id uuid, place integer, seen integer, best integer, chips integer)
)
INSERT INTO mat_shares AS known (stream_id, race_id, place, seen, best, chips) SELECT * FROM given
ON CONFLICT (stream_id) DO UPDATE
SET race_id = excluded.race_id, place = excluded.place, seen = excluded.seen, best = excluded.best,
    chips = excluded.chips, looked_at = now()
"""

# Since a look, which may be a minute old, its bins go on.
_DUE_NOW = f"""
SELECT place, due, extract(epoch FROM now() - newest_at)::float AS since_s
FROM point_watches WHERE race_id = $1 AND due IS NOT NULL AND NOT closed AND {LOOKED_LATELY}
"""  # noqa: S608 - of constants only
_SEEN = f"""
SELECT stream_id, seen, chips FROM mat_shares JOIN point_watches AS point USING (race_id, place)
WHERE race_id = $1 AND chips > 0 AND point.{LOOKED_LATELY}
"""  # noqa: S608 - of constants only
_TRAVELS = """
SELECT place, from_place, travel_s, arrive FROM point_watches WHERE race_id = $1 AND due IS NOT NULL
"""
MINUTE_S = 60.0


class Point(NamedTuple):
    """A point of a race where reads may come. has_reads: of the race, whatever epochs they are of, for one that is
    reset begins another; silent_s: since the last of them. through: how many came from the point before, as it was
    looked at last. told: an alert says that it is silent. filled: what is another when its passings are. made_of,
    made_s, one_in: of what it was made last, how long ago, and of one in how many people.
    """

    race_id: UUID
    place: int
    title: str
    closed: bool
    stream_ids: Sequence[UUID]
    has_reads: bool
    silent_s: float | None
    filled: str
    made_of: str | None
    made_s: float | None
    one_in: int
    through: int | None = None
    online: bool = True
    told: bool = False


class Watch(NamedTuple):
    """What was made of a point, as it is kept: of what, and of one in how many people the next time. due_in_all: where
    too little is known for `due`, who may come yet.
    """

    made_of: str
    one_in: int = 1
    from_place: int | None = None
    through: int = 0
    newest_at: datetime | None = None
    usual_gap_s: float = 0.0
    due: Sequence[float] | None = None
    surely_due: Sequence[float] | None = None
    due_in_all: float = 0.0
    travel_s: Sequence[float] = ()
    arrive: float = 0.0


class Travel(NamedTuple):
    """How long it takes from a point, a quantile each, and what share of those who were there come."""

    from_place: int
    travel_s: Sequence[float]
    arrive: float


async def take_turn(connection: Connection) -> bool:
    """Return whether it is this transaction's turn to look."""
    with translated():
        return bool(await connection.fetchval(_TAKE_TURN))


async def points(connection: Connection) -> list[Point]:
    """Return the points of races, in course order."""
    with translated():
        return [Point(**row) for row in await connection.fetch(POINTS)]


async def keep(
    connection: Connection, made: Sequence[tuple[Point, Watch]], all_points: Sequence[Point]
) -> None:
    """Keep what was made of points, and of no others than these."""
    rows = [
        (each.race_id, each.place, each.title, list(each.stream_ids), each.closed, *watch)
        for each, watch in made
    ]
    with translated():
        if rows:
            await connection.executemany(_KEEP, rows)
        still = [{name: getattr(each, name) for name in _TOLD_ANEW} for each in all_points]
        await connection.execute(_STILL, orjson.dumps(still, default=str).decode())


async def keep_shares(connection: Connection, race_id: UUID, found: Sequence[Share]) -> None:
    """Keep what mats have seen, beside the best of each point."""
    best = {
        place: max(each.seen for each in found if each.place == place)
        for place in {each.place for each in found}
    }
    rows = [{**each._asdict(), "race_id": race_id, "best": best[each.place]} for each in found]
    with translated():
        await connection.execute(_KEEP_SHARES, orjson.dumps(rows, default=str).decode())


async def due_now(database: Statements, race_id: UUID) -> dict[int, float]:
    """Return how many are due in a minute at points of a race, by place; of those where too little is known,
    nothing.
    """
    with translated():
        rows = await database.fetch(_DUE_NOW, race_id)
    return {row["place"]: due_within(row["due"], row["since_s"] - MINUTE_S, row["since_s"]) for row in rows}


async def seen_by_mats(database: Statements, race_id: UUID) -> dict[UUID, tuple[int, int]]:
    """Return of the mats of points of several how many chips each has seen, and of how many that came last."""
    with translated():
        rows = await database.fetch(_SEEN, race_id)
    return {row["stream_id"]: (row["seen"], row["chips"]) for row in rows}


async def travels(database: Statements, race_id: UUID) -> dict[int, Travel]:
    """Return how long it takes to points of a race, by place, as it was known last."""
    with translated():
        rows = await database.fetch(_TRAVELS, race_id)
    return {row["place"]: Travel(row["from_place"], row["travel_s"], row["arrive"]) for row in rows}
