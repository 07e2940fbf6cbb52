"""What is known of readers' clocks, in rows. For the one process that looks at the moment (api/clocks/looking.py).

Sets, not streams one by one: a look is a handful of statements, whatever the number of readers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from api.clocks.drift import HOURS, Drift, Point
from api.clocks.estimate import Clock, Mark, Told, Window, tell
from api.storage.plans import FORGET
from shared.db.connections import Transaction
from shared.db.errors import translated

__all__ = [
    "DUE",
    "KEPT",
    "POINTS",
    "TIDY",
    "Seen",
    "due",
    "give_zones",
    "keep",
    "points",
    "set_drifts",
    "take_turn",
    "tidy",
    "votes",
    "zone",
]

# Of each stream: at a row for two minutes that is a week without a break.
KEPT = 5_000
# Of each stream in a look; what a reader says in ten seconds, and the newest of it where that is more.
READS = 100

# Whose turn it is: at most one process in $1 seconds, and once an hour what is too old is taken away. The others do not
# wait for its lock.
_TAKE_TURN = """
WITH turn AS (
    SELECT only_row, tidied_at < now() - interval '1 hour' AS tidies
    FROM clocks_turn WHERE looked_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED
)
UPDATE clocks_turn AS looks
SET looked_at = now(), tidied_at = CASE WHEN turn.tidies THEN now() ELSE tidied_at END
FROM turn WHERE looks.only_row = turn.only_row
RETURNING turn.tidies
"""

# $1: the zone of all forwarders that have none of their own, or null. A clock that is compared with another zone's now
# is as far from UTC as before: nothing is forgotten, and nobody has set it.
_REBASE = """
UPDATE reader_clocks AS clock
SET zone = wanted.zone, ahead_ms = ahead_ms - by_ms, told_ms = told_ms - by_ms, was_ms = was_ms - by_ms,
    window_ms = window_ms - by_ms, utc_ms = utc_ms + by_ms, zone_ms = CASE WHEN wanted.zone IS NOT NULL THEN 0 END
FROM (
    SELECT known.stream_id, wanted.zone,
           zone_ahead_ms(wanted.zone, told_at) - zone_ahead_ms(known.zone, told_at) AS by_ms
    FROM reader_clocks AS known
    JOIN streams USING (stream_id)
    LEFT JOIN forwarder_zones USING (forwarder_id)
    CROSS JOIN LATERAL (SELECT coalesce(forwarder_zones.time_zone, $1::text)) AS wanted(zone)
    WHERE known.zone IS DISTINCT FROM wanted.zone
) AS wanted
WHERE clock.stream_id = wanted.stream_id
"""

# $1: as above, $2: how many reads at the most. Streams of which something came since the last look, with how far ahead
# each read says that its clock is: by position, and no further back than that. Last sightings come later and carry the
# time of the first, so they say nothing. Nor does what a reader's memory had, none of which is live.
DUE = r"""
SELECT streams.stream_id, last_position, wanted.zone, clock.ahead_ms, coalesce(clock.utc_ms, 0) AS utc_ms,
       clock.told_ms, clock.told_since, clock.told_at, clock.told_back, clock.shown_ms AS shown_before_ms,
       clock.was_ms, clock.stepped_at, clock.window_at, clock.window_ms, clock.window_opens,
       mark.at AS marked_at, mark.utc_ahead_ms AS marked_ms,
       coalesce(told.reads, '{}') AS reads, coalesce(told.shown, '{}') AS shown_ms, told.since, told.at,
       zone_ahead_ms(wanted.zone, told.since) AS utc_ms_since, zone_ahead_ms(wanted.zone, told.at) AS utc_ms_at
FROM streams
LEFT JOIN forwarder_zones USING (forwarder_id)
LEFT JOIN reader_clocks AS clock USING (stream_id)
CROSS JOIN LATERAL (SELECT coalesce(forwarder_zones.time_zone, $1::text)) AS wanted(zone)
LEFT JOIN LATERAL (
    SELECT at, utc_ahead_ms FROM reader_clock_marks AS newest
    WHERE newest.stream_id = streams.stream_id ORDER BY at DESC LIMIT 1
) AS mark ON true
CROSS JOIN LATERAL (
    SELECT array_agg(ahead_ms) AS reads, array_agg(shown_ms ORDER BY position) AS shown, min(received_at) AS since,
           max(received_at) AS at
    FROM (
        SELECT received_at, position, (extract(epoch FROM read_at) * 1000)::bigint AS shown_ms,
               (extract(epoch FROM read_at - received_at AT TIME ZONE coalesce(wanted.zone, 'UTC')) * 1000)::bigint
                   AS ahead_ms
        FROM events
        WHERE events.stream_id = streams.stream_id
          AND position > greatest(last_position - $2::integer, coalesce(clock.position, 0))
          AND read_at IS NOT NULL
          AND encode(substr(raw_frame, 1, 60), 'escape')
              !~ '^\s*aa([[:xdigit:]]{34}([[:xdigit:]]{6})?LS|[[:xdigit:]]{36}[4-7])'
        ORDER BY position LIMIT $2
    ) AS newest
) AS told
WHERE last_position > coalesce(clock.position, 0) AND NOT is_memory(reader_ip)
"""

# $1: clocks as a JSON array.
_KEEP = """
INSERT INTO reader_clocks AS clock (
    stream_id, position, zone, ahead_ms, utc_ms, zone_ms, told_ms, told_since, told_at, told_back, shown_ms, was_ms,
    stepped_at, window_at, window_ms, window_opens)
SELECT stream_id, position, zone, ahead_ms, utc_ms, CASE WHEN zone IS NOT NULL THEN 0 END, told_ms, told_since, told_at,
       told_back, shown_ms, was_ms, stepped_at, window_at, window_ms, window_opens
FROM jsonb_to_recordset($1::jsonb) AS given(
    stream_id uuid, position bigint, zone text, ahead_ms bigint, utc_ms bigint, told_ms bigint,
    told_since timestamptz, told_at timestamptz, told_back boolean, shown_ms bigint, was_ms bigint,
    stepped_at timestamptz, window_at timestamptz, window_ms bigint, window_opens boolean)
ON CONFLICT (stream_id) DO UPDATE
SET position = excluded.position, zone = excluded.zone, ahead_ms = excluded.ahead_ms, utc_ms = excluded.utc_ms,
    told_ms = excluded.told_ms, told_since = excluded.told_since, told_at = excluded.told_at,
    told_back = excluded.told_back, shown_ms = excluded.shown_ms, was_ms = excluded.was_ms,
    stepped_at = excluded.stepped_at, window_at = excluded.window_at, window_ms = excluded.window_ms,
    window_opens = excluded.window_opens
"""

# $1: marks as a JSON array. A clock that was set: reads between two moments say when. One that was set back was so
# behind the last read that still had the old time, which no delay can give to a read; one that was set forward from the
# first read on that has the new time, for the same reason. Those moments are minutes apart at the most, so the newest
# 50,000 reads are more than a mat makes between them, and no more than are quickly passed over.
_MARK = """
INSERT INTO reader_clock_marks AS mark (stream_id, at, utc_ahead_ms, stepped)
SELECT DISTINCT ON (given.stream_id, moment.at) given.stream_id, moment.at, given.utc_ahead_ms, given.stepped
FROM jsonb_to_recordset($1::jsonb) AS given(
    stream_id uuid, at timestamptz, utc_ahead_ms bigint, stepped boolean, before_ms bigint, since timestamptz,
    until timestamptz)
LEFT JOIN streams USING (stream_id)
LEFT JOIN LATERAL (
    SELECT CASE WHEN utc_ahead_ms > before_ms THEN min(received_at) FILTER (WHERE new_is_nearer)
                ELSE max(received_at) FILTER (WHERE NOT new_is_nearer) + interval '1 microsecond' END AS at
    FROM (
        SELECT received_at, abs(said.ms - utc_ahead_ms) < abs(said.ms - before_ms) AS new_is_nearer
        FROM events
        CROSS JOIN LATERAL (
            SELECT (extract(epoch FROM read_at - received_at AT TIME ZONE 'UTC') * 1000)::bigint
        ) AS said(ms)
        WHERE given.stepped AND events.stream_id = given.stream_id AND position > last_position - 50000
          AND received_at BETWEEN since AND until AND read_at IS NOT NULL
        ORDER BY position
    ) AS reads
) AS found ON true
CROSS JOIN LATERAL (SELECT coalesce(found.at, given.at)) AS moment(at)
ORDER BY given.stream_id, moment.at, given.stepped DESC
ON CONFLICT (stream_id, at) DO UPDATE
SET utc_ahead_ms = excluded.utc_ahead_ms, stepped = mark.stepped OR excluded.stepped
"""

# $1: streams, $2: of how many hours. What was kept since each was set last, by its zone's wall clock, which has summer
# time where the clock has it, too.
POINTS = """
SELECT clock.stream_id, array_agg(extract(epoch FROM at)::float8 ORDER BY at) AS at_s,
       array_agg((utc_ahead_ms - zone_ahead_ms(clock.zone, at))::float8 ORDER BY at) AS ahead_ms
FROM unnest($1::uuid[]) AS wanted(stream_id)
JOIN reader_clocks AS clock USING (stream_id)
CROSS JOIN LATERAL (
    SELECT coalesce(max(at), '-infinity') AS since FROM reader_clock_marks AS step
    WHERE step.stream_id = clock.stream_id AND at > now() - make_interval(hours => $2) AND stepped
) AS last_step
JOIN reader_clock_marks AS mark
  ON mark.stream_id = clock.stream_id AND at > now() - make_interval(hours => $2) AND at >= last_step.since
GROUP BY clock.stream_id
"""

_SET_DRIFTS = """
UPDATE reader_clocks AS clock SET drift_ppm = given.ppm, drift_error_ppm = given.error_ppm
FROM unnest($1::uuid[], $2::float8[], $3::float8[]) AS given(stream_id, ppm, error_ppm)
WHERE clock.stream_id = given.stream_id
"""

# Of clocks of the last day without a zone of their own: how many are within 2 min of which quarter of an hour.
_VOTES = """
SELECT quarter, count(*) AS streams
FROM reader_clocks CROSS JOIN LATERAL (SELECT round(ahead_ms / 900000.0)::bigint) AS nearest(quarter)
WHERE zone IS NULL AND told_at > now() - interval '1 day' AND abs(ahead_ms - quarter * 900000) <= 120000
GROUP BY quarter
"""
_ZONE = "UPDATE reader_clocks SET zone_ms = $1 WHERE zone IS NULL AND zone_ms IS DISTINCT FROM $1"

_FORGET = """
DELETE FROM reader_clocks AS clock WHERE NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = clock.stream_id)
"""
# $1: how many of each stay. Where each ends is found first, once: found for each mark it would be its square.
TIDY = """
WITH bound AS MATERIALIZED (
    SELECT stream_id, (SELECT at FROM reader_clock_marks AS kept WHERE kept.stream_id = clock.stream_id
                       ORDER BY at DESC OFFSET $1 LIMIT 1) AS until
    FROM reader_clocks AS clock
)
DELETE FROM reader_clock_marks AS mark USING bound
WHERE until IS NOT NULL AND mark.stream_id = bound.stream_id AND mark.at <= until
"""


class Seen(NamedTuple):
    """A stream of which something came: what was believed of its clock, and what its reads say, up to which position,
    by which zone's wall clock.
    """

    stream_id: UUID
    position: int
    zone: str | None
    clock: Clock
    told: Told | None


async def take_turn(connection: Transaction, *, every_s: float) -> bool | None:
    """Return None if somebody has looked within that time; else that we do, and whether it is time to tidy."""
    with translated():
        tidies: bool | None = await connection.fetchval(_TAKE_TURN, every_s)
        if tidies is not None:
            await connection.execute(FORGET)
    return tidies


async def give_zones(connection: Transaction, time_zone: str | None) -> None:
    """Have clocks compared with the zones that are given by now; time_zone: of who has none of its own."""
    with translated():
        await connection.execute(_REBASE, time_zone)


async def due(connection: Transaction, time_zone: str | None) -> list[Seen]:
    """Return the streams of which something came since the last look."""
    with translated():
        return [_seen(row) for row in await connection.fetch(DUE, time_zone, READS)]


_TELLS = ("utc_ms_since", "utc_ms_at", "shown_ms", "shown_before_ms")


def _seen(row: asyncpg.Record) -> Seen:
    window = (
        None
        if row["window_at"] is None
        else Window(row["window_at"], row["window_ms"], opens=row["window_opens"])
    )
    marked = None if row["marked_at"] is None else Mark(row["marked_at"], row["marked_ms"])
    return Seen(
        row["stream_id"],
        row["last_position"],
        row["zone"],
        Clock(
            row["ahead_ms"],
            row["utc_ms"],
            _told(row),
            row["was_ms"],
            row["stepped_at"],
            window=window,
            marked=marked,
        ),
        tell(row["reads"], row["since"], row["at"], **{name: row[name] for name in _TELLS}),
    )


def _told(row: asyncpg.Record) -> Told | None:
    """Return what the look before told. One of the release before has not said since when."""
    if row["told_at"] is None:
        return None
    since = row["told_since"] or row["told_at"]
    more = {"shown_ms": row["shown_before_ms"], "back": bool(row["told_back"])}
    return Told(row["told_ms"], since, row["told_at"], **more)


async def keep(connection: Transaction, looked: Iterable[tuple[Seen, Clock, Sequence[Mark]]]) -> None:
    """Write what is believed now, and what is kept of it."""
    looked = [*looked]
    clocks = [_clock(seen, clock) for seen, clock, _ in looked]
    marks = [_mark(seen.stream_id, mark) for seen, _, those in looked for mark in those]
    with translated():
        await connection.execute(_KEEP, orjson.dumps(clocks, default=str).decode())
        if marks:
            await connection.execute(_MARK, orjson.dumps(marks, default=str).decode())


def _clock(seen: Seen, clock: Clock) -> dict[str, Any]:
    told, window = clock.told, clock.window
    return {
        "stream_id": seen.stream_id,
        "position": seen.position,
        "zone": seen.zone,
        "ahead_ms": clock.ahead_ms,
        "utc_ms": clock.utc_ms,
        "told_ms": told and told.ms,
        "told_since": told and told.since,
        "told_at": told and told.at,
        "told_back": told and told.back,
        "shown_ms": told and told.shown_ms,
        "was_ms": clock.was_ms,
        "stepped_at": clock.stepped_at,
        "window_at": window and window.began_at,
        "window_ms": window and window.ms,
        "window_opens": window and window.opens,
    }


def _mark(stream_id: UUID, mark: Mark) -> dict[str, Any]:
    since, until = mark.between or (None, None)
    return {
        "stream_id": stream_id,
        "at": mark.at,
        "utc_ahead_ms": mark.utc_ahead_ms,
        "stepped": mark.stepped,
        "before_ms": mark.before_ms,
        "since": since,
        "until": until,
    }


async def points(connection: Transaction, stream_ids: Sequence[UUID]) -> dict[UUID, list[Point]]:
    """Return what was kept of some clocks in the last hours, since each was set last."""
    with translated():
        rows = await connection.fetch(POINTS, stream_ids, int(HOURS))
    return {row["stream_id"]: [*map(Point, row["at_s"], row["ahead_ms"])] for row in rows}


async def set_drifts(connection: Transaction, drifts: Mapping[UUID, Drift | None]) -> None:
    """Write how some clocks drift, where that is known."""
    columns = [[each and each[at] for each in drifts.values()] for at in range(2)]
    with translated():
        await connection.execute(_SET_DRIFTS, list(drifts), *columns)


async def votes(connection: Transaction) -> dict[int, int]:
    """Return how many clocks without a zone stand at which quarter of an hour beside UTC."""
    with translated():
        return {row["quarter"]: row["streams"] for row in await connection.fetch(_VOTES)}


async def zone(connection: Transaction, zone_ms: int | None) -> None:
    """Take so much for the zone of all clocks to which none is given; None: nobody knows."""
    with translated():
        await connection.execute(_ZONE, zone_ms)


async def tidy(connection: Transaction, *, marks: bool) -> None:
    """Forget clocks of streams that are gone; marks: also what is beyond the bound."""
    with translated():
        await connection.execute(_FORGET)
        if marks:
            await connection.execute(TIDY, KEPT)
