"""Stored events: what is new of many streams, and pages for who is behind that."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.db.connections import Connection, Pool
from shared.db.errors import translated

__all__ = [
    "EPOCH_PAGE",
    "LATE",
    "POSITION_PAGE",
    "READ_EVENTS",
    "READ_TAILS",
    "EventRow",
    "News",
    "Rows",
    "read_epoch_page",
    "read_late_page",
    "read_position_page",
    "read_tails",
]


class EventRow(NamedTuple):
    """An event as it is delivered. raw_frame: what came, as it came; framed: as bytes with their line end, else as the
    text of a line.
    """

    position: int
    stream_epoch: int
    seq: int
    reader_timestamp: str
    raw_frame: bytes
    read_type: str
    received_at: datetime
    framed: bool


class Rows(NamedTuple):
    """What a read of events gave, and whether it ended at its own limit: there may be more behind."""

    events: list[EventRow]
    more: bool


class News(NamedTuple):
    """The same for many streams at once."""

    events: dict[UUID, list[EventRow]]
    more: bool


# What one read takes of one stream: so many events, and no more once their lines are so long together, but at least
# one. What a read for many streams takes of all of them.
READ_EVENTS = 1_000
READ_BYTES = 1024 * 1024
READ_ALL_EVENTS = 4_000

# One statement for all streams of the node: a probe of (stream_id, position) for each, and what is new. Positions
# are handed out under the stream's lock in commit order: whoever has read up to x misses nothing below x.
READ_TAILS = """
SELECT tail.stream_id, event.*
FROM unnest($1::uuid[], $2::bigint[]) AS tail(stream_id, position)
CROSS JOIN LATERAL (
    SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
    FROM (
        SELECT next.*, sum(octet_length(raw_frame)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
        FROM (
            SELECT events.position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
            FROM events
            WHERE events.stream_id = tail.stream_id AND events.position > tail.position
            ORDER BY events.position
            LIMIT $3
        ) AS next
    ) AS summed
    WHERE bytes - octet_length(raw_frame) < $4
    ORDER BY position
) AS event
LIMIT $5
"""
EPOCH_PAGE = """
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
FROM (
    SELECT next.*, sum(octet_length(raw_frame)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
        FROM events
        WHERE stream_id = $1 AND stream_epoch = $2 AND seq > $3
        ORDER BY seq
        LIMIT $4
    ) AS next
) AS summed
WHERE bytes - octet_length(raw_frame) < $5
ORDER BY seq
"""
POSITION_PAGE = """
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
FROM (
    SELECT next.*, sum(octet_length(raw_frame)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
        FROM events
        WHERE stream_id = $1 AND position > $2
        ORDER BY position
        LIMIT $3
    ) AS next
) AS summed
WHERE bytes - octet_length(raw_frame) < $4
ORDER BY position
"""

# What was stored below a cursor after it: few among many, most of the time. Two ways, each of which costs what it
# passes over: by the primary key all of the epoch below the cursor, by position all that has been stored since.
# OFFSET 0 keeps the planner from choosing another one by what it thinks of either condition. `found` counts one more
# than is returned, where there is one: the last page must be known as the last.
_LATE_BY_SEQ = """
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
FROM events
WHERE stream_id = $1 AND stream_epoch = $2 AND seq > $3 AND seq <= $4
ORDER BY seq
OFFSET 0
"""
_LATE_BY_POSITION = """
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed
FROM events
WHERE stream_id = $1 AND position > $5 AND position <= $6
ORDER BY position
OFFSET 0
"""


def _late_page(way: str) -> str:
    return f"""
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at, framed, found
FROM (
    SELECT next.*, count(*) OVER () AS found, row_number() OVER (ORDER BY seq) AS place,
           sum(octet_length(raw_frame)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT * FROM ({way}) AS passed
        WHERE stream_epoch = $2 AND seq > $3 AND seq <= $4 AND position > $5 AND position <= $6
        ORDER BY seq
        LIMIT $7 + 1
    ) AS next
) AS summed
WHERE bytes - octet_length(raw_frame) < $8 AND place <= $7
ORDER BY seq
"""  # noqa: S608 - `way` is one of the two above


LATE = {"by_seq": _late_page(_LATE_BY_SEQ), "by_position": _late_page(_LATE_BY_POSITION)}


async def read_tails(connection: Connection, positions: dict[UUID, int]) -> News:
    """Return what is new after a position of each stream, by stream, in order of position."""
    with translated():
        rows = await connection.fetch(
            READ_TAILS, list(positions), list(positions.values()), READ_EVENTS, READ_BYTES, READ_ALL_EVENTS
        )
    found: dict[UUID, list[EventRow]] = {}
    for stream_id, *event in rows:
        found.setdefault(stream_id, []).append(EventRow(*event))
    return News(found, len(rows) == READ_ALL_EVENTS or any(_is_full(events) for events in found.values()))


async def read_epoch_page(pool: Pool, stream_id: UUID, *, epoch: int, after_seq: int) -> Rows:
    """Return the next events of an epoch after a seq, in order of seq."""
    with translated():
        rows = await pool.fetch(EPOCH_PAGE, stream_id, epoch, after_seq, READ_EVENTS, READ_BYTES)
    return _rows(rows)


async def read_position_page(pool: Pool, stream_id: UUID, *, after_position: int) -> Rows:
    """Return the next events of a stream after a position, in order of position."""
    with translated():
        rows = await pool.fetch(POSITION_PAGE, stream_id, after_position, READ_EVENTS, READ_BYTES)
    return _rows(rows)


async def read_late_page(
    pool: Pool, stream_id: UUID, *, epoch: int, seqs: tuple[int, int], positions: tuple[int, int]
) -> Rows:
    """Return the next events of an epoch with seqs and positions above the first of each pair and up to the second, in
    order of seq. `more` is exact.
    """
    way = "by_seq" if seqs[1] - seqs[0] <= positions[1] - positions[0] else "by_position"
    with translated():
        rows = await pool.fetch(LATE[way], stream_id, epoch, *seqs, *positions, READ_EVENTS, READ_BYTES)
    return Rows(
        [EventRow(*row[:-1]) for row in map(tuple, rows)], bool(rows) and rows[0]["found"] > len(rows)
    )


def _rows(records: list[Record]) -> Rows:
    events = [EventRow(*record) for record in records]
    return Rows(events, _is_full(events))


def _is_full(events: list[EventRow]) -> bool:
    return len(events) == READ_EVENTS or sum(len(event.raw_frame) for event in events) >= READ_BYTES
