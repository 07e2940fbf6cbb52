"""Segments as rows, and what was done to them."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from api.segments.pieces import Span
from shared.db.connections import Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "CHANGES_KEPT",
    "STREAMS_SHOWN",
    "Other",
    "Stream",
    "change",
    "changes",
    "fingerprint",
    "hold",
    "hold_races",
    "keep_race",
    "names",
    "overlapped",
    "put",
    "span",
    "spans",
    "stream",
    "streams_of",
    "told",
]

CHANGES_KEPT = 100
STREAMS_SHOWN = 100
# There may be no row that could be locked. $1: what of all the database's locks these are. An epoch that is reserved
# for a race waits for it, and with it a gun (reserve_race_epoch): it is held for as long as a change takes, and nobody
# counts, or waits for anybody else, behind it.
_HOLD = "SELECT pg_advisory_xact_lock($1, hashtext($2))"
_HELD = int.from_bytes(b"rtsg")
_STREAM = """
SELECT stream_id, forwarder_id,
       stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS title, stream_epoch
FROM streams
"""
_ONE = f"{_STREAM} WHERE stream_id = $1"
# Those that anything of the race is of, and those of its forwarders, which may be to come; $2: behind which one, null:
# from the first on. By their ids, which are in the order in which they were made.
_STREAMS_OF = f"""
{_STREAM}
WHERE (stream_id IN (SELECT stream_id FROM ranges_of_race($1))
       OR stream_id IN (SELECT stream_id FROM race_segments WHERE race_id = $1)
       OR forwarder_id IN (SELECT forwarder_id FROM forwarder_races WHERE race_id = $1))
  AND ($2::uuid IS NULL OR stream_id > $2)
ORDER BY stream_id
LIMIT $3
"""  # noqa: S608 - of constants only
# All that says whose the reads of a stream are, in a few letters: another of it, and they are others.
_FINGERPRINT = """
SELECT left(encode(sha256(convert_to(concat_ws('#',
    (SELECT string_agg(concat_ws(' ', race_id, from_epoch, from_seq, to_epoch, to_seq), ','
                       ORDER BY from_epoch, from_seq)
     FROM race_segments WHERE stream_id = $1),
    'epochs',
    (SELECT string_agg(concat_ws(' ', stream_epoch, race_id), ',' ORDER BY stream_epoch)
     FROM epoch_races WHERE stream_id = $1),
    'forwarder',
    (SELECT race_id FROM forwarder_races JOIN streams USING (forwarder_id) WHERE stream_id = $1)
), 'UTF8')), 'hex'), 16)
"""
_SPANS = """
SELECT from_epoch, from_seq, to_epoch, to_seq FROM race_segments WHERE stream_id = $1 AND race_id = $2
ORDER BY from_epoch, from_seq
"""
# $2: the race whose they would be; of all others the first that has one of these reads already.
_OVERLAPPED = """
SELECT races.race_id, name, segment.from_epoch, segment.from_seq, segment.to_epoch, segment.to_seq
FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS given(from_epoch, from_seq, to_epoch, to_seq)
JOIN race_segments AS segment
    ON segment.stream_id = $1 AND segment.race_id <> $2
   AND (given.to_epoch IS NULL OR (segment.from_epoch, segment.from_seq) < (given.to_epoch, given.to_seq))
   AND (segment.to_epoch IS NULL OR (given.from_epoch, given.from_seq) < (segment.to_epoch, segment.to_seq))
JOIN races USING (race_id)
ORDER BY segment.from_epoch, segment.from_seq
LIMIT 1
"""
_CLEAR = "DELETE FROM race_segments WHERE stream_id = $1 AND race_id = $2"
_PUT = """
INSERT INTO race_segments (stream_id, race_id, from_epoch, from_seq, to_epoch, to_seq)
SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
"""
_NOTE = """
INSERT INTO segment_changes (race_id, stream_id, before, after, changed_by, undoes)
VALUES ($1, $2, $3::jsonb, $4::jsonb, $5, $6)
RETURNING change_id
"""
_FORGET = """
DELETE FROM segment_changes
WHERE race_id = $1
  AND change_id <= (SELECT change_id FROM segment_changes WHERE race_id = $1 ORDER BY change_id DESC OFFSET $2 LIMIT 1)
"""
_MARK = "UPDATE races SET segments_changed_at = clock_timestamp() WHERE race_id = ANY($1::uuid[])"
# undoable: what is there now is what it has left.
_CHANGES = """
SELECT change_id, stream_id,
       stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS stream,
       before::text, after::text, changed_at, changed_by, undoes,
       after = coalesce((
           SELECT jsonb_agg(jsonb_build_array(from_epoch, from_seq, to_epoch, to_seq) ORDER BY from_epoch, from_seq)
           FROM race_segments AS now
           WHERE now.stream_id = changed.stream_id AND now.race_id = changed.race_id), '[]') AS undoable
FROM segment_changes AS changed JOIN streams USING (stream_id)
WHERE race_id = $1
"""
_NEWEST = f"{_CHANGES} ORDER BY change_id DESC LIMIT {CHANGES_KEPT}"
_CHANGE = f"{_CHANGES} AND change_id = $2"
_KEEP_RACE = "SELECT name FROM races WHERE race_id = $1 FOR KEY SHARE"
# In one order, or two who hold several could wait for each other.
_HOLD_RACES = "SELECT race_id FROM races WHERE race_id = ANY($1::uuid[]) ORDER BY race_id FOR NO KEY UPDATE"
_NAMES = "SELECT race_id, name FROM races WHERE race_id = ANY($1::uuid[])"


class Stream(NamedTuple):
    """A stream, and what it is called."""

    stream_id: UUID
    forwarder_id: str
    title: str
    stream_epoch: int


class Other(NamedTuple):
    """A segment of another race."""

    race_id: UUID
    race: str
    span: Span


async def hold(connection: Transaction, stream_id: UUID) -> None:
    """Let nobody else move boundaries of a stream until the transaction ends."""
    with translated():
        await connection.execute(_HOLD, _HELD, str(stream_id))


async def keep_race(connection: Transaction, race_id: UUID) -> str | None:
    """Let nobody delete a race until the transaction ends, and return its name; None: there is no such race."""
    with translated():
        name: str | None = await connection.fetchval(_KEEP_RACE, race_id)
    return name


async def hold_races(connection: Transaction, races: Collection[UUID]) -> set[UUID]:
    """Let nobody else change these races until the transaction ends, and return those that there are."""
    with translated():
        return {row["race_id"] for row in await connection.fetch(_HOLD_RACES, list(races))}


async def stream(database: Statements, stream_id: UUID) -> Stream | None:
    """Return a stream; None when there is none of this id."""
    with translated():
        row = await database.fetchrow(_ONE, stream_id)
    return None if row is None else Stream(*row)


async def streams_of(
    database: Statements, race_id: UUID, behind: UUID | None
) -> tuple[list[Stream], UUID | None]:
    """Return the streams of a race behind one of them, so many at once, and behind which there are more; None: none."""
    with translated():
        rows = await database.fetch(_STREAMS_OF, race_id, behind, STREAMS_SHOWN + 1)
    shown = [Stream(*row) for row in rows[:STREAMS_SHOWN]]
    return shown, shown[-1].stream_id if len(rows) > STREAMS_SHOWN else None


async def fingerprint(database: Statements, stream_id: UUID) -> str:
    """Return what all that is said of a stream's reads comes to."""
    with translated():
        return str(await database.fetchval(_FINGERPRINT, stream_id))


async def spans(database: Statements, stream_id: UUID, race_id: UUID) -> list[Span]:
    """Return the segments of a race in a stream that somebody has made, in their order."""
    with translated():
        return [span(*row) for row in await database.fetch(_SPANS, stream_id, race_id)]


def span(from_epoch: int, from_seq: int, to_epoch: int | None, to_seq: int | None) -> Span:
    """Return a segment of the numbers that it is kept as."""
    return Span((from_epoch, from_seq), None if to_epoch is None or to_seq is None else (to_epoch, to_seq))


async def overlapped(
    database: Statements, stream_id: UUID, race_id: UUID, wanted: Sequence[Span]
) -> Other | None:
    """Return a segment of another race that has a read which is wanted."""
    with translated():
        row = await database.fetchrow(_OVERLAPPED, stream_id, race_id, *_columns(wanted))
    return None if row is None else Other(row["race_id"], row["name"], span(*tuple(row)[2:]))


async def put(connection: Transaction, stream_id: UUID, race_id: UUID, wanted: Sequence[Span]) -> None:
    """Let the segments of a race in a stream be these and no others. DatabaseRefused: another race has such a read."""
    with translated():
        await connection.execute(_CLEAR, stream_id, race_id)
        await connection.execute(_PUT, stream_id, race_id, *_columns(wanted))


def _columns(wanted: Iterable[Span]) -> tuple[list[int | None], ...]:
    rows = [(*each.begins, *(each.ends or (None, None))) for each in wanted]
    return tuple([row[at] for row in rows] for at in range(4))


async def change(
    connection: Transaction,
    race_id: UUID,
    stream_id: UUID,
    *,
    before: Sequence[Span],
    after: Sequence[Span],
    by: str,
    undoes: int | None,
    races: Collection[UUID],
) -> int:
    """Keep what was done, and that these races have other reads now; return its number."""
    kept = [json.dumps(each) for each in (told(before), told(after))]
    with translated():
        change_id = int(await connection.fetchval(_NOTE, race_id, stream_id, *kept, by, undoes))
        await connection.execute(_FORGET, race_id, CHANGES_KEPT)
        await connection.execute(_MARK, sorted({race_id, *races}))
    return change_id


def told(spans: Iterable[Span]) -> list[list[int | None]]:
    """Return segments as the numbers that they are kept as."""
    return [[*each.begins, *(each.ends or (None, None))] for each in spans]


async def changes(database: Statements, race_id: UUID, change_id: int | None = None) -> list[dict[str, Any]]:
    """Return the newest changes of a race, the last first, or the one of a number."""
    with translated():
        if change_id is None:
            rows = await database.fetch(_NEWEST, race_id)
        else:
            rows = await database.fetch(_CHANGE, race_id, change_id)
    return [
        {**dict(row), "before": json.loads(row["before"]), "after": json.loads(row["after"])} for row in rows
    ]


async def names(database: Statements, races: Collection[UUID]) -> dict[UUID, str]:
    """Return what races are called."""
    with translated():
        return dict(map(tuple, await database.fetch(_NAMES, list(races))))
