"""What we have of a reader, from its streams and on its way; and lines left for a gateway to stage."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "PART_LINES",
    "STORED",
    "Reader",
    "Waiting",
    "find",
    "last_position",
    "leave",
    "lock",
    "stored",
    "waiting",
]

PART_LINES = 500  # as the table has it
PAGE = 5_000

_READER = """
SELECT forwarder_id, reader_ip, stream_epoch, stream_title(streams) AS title FROM streams WHERE stream_id = $1
"""
_LAST_POSITION = "SELECT last_position FROM streams WHERE stream_id = $1"

# $2, $3: positions, so that a page costs what it holds, and needs no snapshot: what has a position keeps it. $4, $5:
# the file's time; what says none is compared whatever that is. What servers in the field use among themselves is no
# read.
STORED = """
SELECT raw_frame, read_at FROM events
WHERE stream_id = $1 AND position > $2 AND position <= $3
  AND (read_at IS NULL OR (read_at >= $4 AND read_at < $5))
  AND octet_length(raw_frame) <= 300 AND left(read_type, 2) <> '__'
"""

# What lies here and is not in `events`, in one snapshot with how far the memory's stream goes: a line that goes from
# here into events meanwhile is met once, for events are read up to that position alone. (In two looks it could count
# twice, and a line of the file be taken for one that we have.)
_WAITING = """
SELECT memory.stream_id, coalesce(memory.last_position, 0) AS last_position, coalesce(part.lines, '{}') AS lines
FROM (SELECT) AS one
LEFT JOIN streams AS memory ON memory.forwarder_id = $1 AND memory.reader_ip = $2 || '#memory'
LEFT JOIN LATERAL (
    SELECT left_here.part_id, ARRAY(
        SELECT line
        FROM unnest(left_here.lines) WITH ORDINALITY AS each(line, place)
        LEFT JOIN LATERAL (
            SELECT events.position FROM events
            WHERE events.stream_id = memory.stream_id AND events.stream_epoch = left_here.stream_epoch
              AND events.seq >= left_here.first_seq + place - 1 AND events.seq <= left_here.first_seq + place - 1
            ORDER BY events.seq DESC LIMIT 1
        ) AS there ON true
        WHERE there.position IS NULL
        ORDER BY place) AS lines
    FROM memory_parts AS left_here
    WHERE left_here.forwarder_id = $1 AND left_here.reader_ip = $2
) AS part ON true
"""

# Who leaves lines of a reader takes turns: each sees what the one before has left. "rtmm" That one may still compare,
# for as long as that may take: the connection's own patience is for a table that somebody has locked.
_PATIENCE = "SET LOCAL lock_timeout = '120s'"
_LOCK = "SELECT pg_advisory_xact_lock(x'72746d6d'::integer, hashtext($1::text || ' ' || $2::text))"

# Behind all that was ever numbered in this epoch of it, stored or not, deleted since or not. What is stored and what
# waits here is looked at as well: a process of the release before numbers by these alone. Nobody else numbers while
# the lock is held; gateways only take away, and what they took is stored.
_NUMBER = """
WITH behind AS (
    SELECT greatest(1,
        (SELECT last_seq + 1 FROM stream_metrics JOIN streams USING (stream_id)
         WHERE forwarder_id = $1 AND reader_ip = $2 || '#memory' AND stream_metrics.stream_epoch = $3),
        (SELECT max(first_seq + cardinality(lines)) FROM memory_parts
         WHERE forwarder_id = $1 AND reader_ip = $2 AND stream_epoch = $3)) AS seq
)
INSERT INTO memory_numbers AS given (forwarder_id, reader_ip, stream_epoch, next_seq)
SELECT $1, $2, $3, seq + $4 FROM behind
ON CONFLICT (forwarder_id, reader_ip, stream_epoch)
    DO UPDATE SET next_seq = greatest(given.next_seq + $4, excluded.next_seq)
RETURNING next_seq - $4
"""
_LEAVE = """
INSERT INTO memory_parts (forwarder_id, reader_ip, stream_epoch, first_seq, lines) VALUES ($1, $2, $3, $4, $5)
"""


class Reader(NamedTuple):
    """A reader's stream, in its current epoch."""

    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    title: str


class Waiting(NamedTuple):
    """Lines that were left and are not stored yet; and the stream of the reader's memory, if there is one, and up to
    which position it goes beside them.
    """

    stream_id: UUID | None
    last_position: int
    lines: Sequence[bytes]


async def find(database: Statements, stream_id: UUID) -> Reader | None:
    """Return the reader's stream, if there is one."""
    with translated():
        row = await database.fetchrow(_READER, stream_id)
    return Reader(**row) if row else None


async def last_position(database: Statements, stream_id: UUID) -> int:
    """Return how far a stream goes; 0 where there is none."""
    with translated():
        return await database.fetchval(_LAST_POSITION, stream_id) or 0


async def stored(
    database: Statements, stream_id: UUID, *, above: int, upto: int, span: tuple[datetime, datetime] | None
) -> AsyncIterator[list[tuple[bytes, datetime | None]]]:
    """Yield lines of a stream with what they say of time, page by page: of that time, or without any."""
    since, until = span or (None, None)
    for start in range(above, upto, PAGE):
        end = min(start + PAGE, upto)
        with translated():
            rows = await database.fetch(STORED, stream_id, start, end, since, until)
        yield [(row["raw_frame"], row["read_at"]) for row in rows]


async def waiting(connection: Transaction, reader: Reader) -> AsyncIterator[Waiting]:
    """Yield what waits of a reader's memory, part by part, of one snapshot; at least once."""
    with translated():
        async for row in connection.cursor(_WAITING, reader.forwarder_id, reader.reader_ip, prefetch=20):
            yield Waiting(**row)


async def lock(connection: Transaction, reader: Reader) -> None:
    """Be the only one, until the transaction ends, to leave lines of this reader."""
    with translated():
        await connection.execute(_PATIENCE)
        await connection.execute(_LOCK, reader.forwarder_id, reader.reader_ip)


async def leave(connection: Transaction, reader: Reader, lines: Sequence[bytes]) -> None:
    """Leave lines to be staged, in their order, under numbers that nothing else has. The lock is held."""
    key = (reader.forwarder_id, reader.reader_ip, reader.stream_epoch)
    with translated():
        first = await connection.fetchval(_NUMBER, *key, len(lines))
        parts = [
            (*key, first + start, lines[start : start + PART_LINES])
            for start in range(0, len(lines), PART_LINES)
        ]
        await connection.executemany(_LEAVE, parts)
