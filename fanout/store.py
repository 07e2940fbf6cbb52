"""All SQL of the fanout: one function a statement."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import LockNotAvailableError, Record

from shared.database import STEADY_PLANS, Connection, Pool
from shared.errors import DatabaseUnavailable, RtServerError, translated
from shared.messages import StreamRef

__all__ = [
    "POOL_SETTINGS",
    "READ_EVENTS",
    "CursorKey",
    "EventRow",
    "News",
    "Resolved",
    "RowLocked",
    "Rows",
    "StartingPoint",
    "advance_cursors",
    "begin_session",
    "end_session",
    "forget_other_sessions",
    "read_epoch_page",
    "read_position_page",
    "read_tails",
    "resolve_streams",
    "starting_points",
    "subscribe_session",
]


# Of rows that anybody holds for longer than a commit takes, it is an administrator who does.
POOL_SETTINGS = {**STEADY_PLANS, "lock_timeout": "500ms"}


class RowLocked(RtServerError):
    """Somebody else holds a row that we need, and goes on holding it."""


class EventRow(NamedTuple):
    """An event as it is delivered."""

    position: int
    stream_epoch: int
    seq: int
    reader_timestamp: str
    raw_frame: bytes
    read_type: str
    received_at: datetime


class Resolved(NamedTuple):
    """A stream that exists: its id and newest position."""

    stream_id: UUID
    last_position: int


class StartingPoint(NamedTuple):
    """Of one snapshot: newest position, newest seq by epoch, and the receiver's stored cursors by epoch."""

    last_position: int
    epochs: dict[int, int]
    cursors: dict[int, int]


class CursorKey(NamedTuple):
    """What a cursor belongs to."""

    receiver_id: str
    stream_id: UUID
    stream_epoch: int


class Rows(NamedTuple):
    """What a read of events gave, and whether it ended at its own limit: there may be more behind."""

    events: list[EventRow]
    more: bool


class News(NamedTuple):
    """The same for many streams at once."""

    events: dict[UUID, list[EventRow]]
    more: bool


# --- events ----------------------------------------------------------------------------------------------

# What one read takes of one stream: so many events, and no more once their lines are so long together, but at least
# one. What a read for many streams takes of all of them.
READ_EVENTS = 1_000
READ_BYTES = 1024 * 1024
READ_ALL_EVENTS = 4_000

# One statement for all streams of the node: a probe of (stream_id, position) for each, and what is new. Positions
# are handed out under the stream's lock in commit order: whoever has read up to x misses nothing below x.
_READ_TAILS = """
SELECT tail.stream_id, event.*
FROM unnest($1::uuid[], $2::bigint[]) AS tail(stream_id, position)
CROSS JOIN LATERAL (
    SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at
    FROM (
        SELECT next.*, sum(octet_length(raw_frame)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
        FROM (
            SELECT events.position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at
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
_EPOCH_PAGE = """
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at
FROM (
    SELECT next.*, sum(octet_length(raw_frame)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at
        FROM events
        WHERE stream_id = $1 AND stream_epoch = $2 AND seq > $3
        ORDER BY seq
        LIMIT $4
    ) AS next
) AS summed
WHERE bytes - octet_length(raw_frame) < $5
ORDER BY seq
"""
_POSITION_PAGE = """
SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at
FROM (
    SELECT next.*, sum(octet_length(raw_frame)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT position, stream_epoch, seq, reader_timestamp, raw_frame, read_type, received_at
        FROM events
        WHERE stream_id = $1 AND position > $2
        ORDER BY position
        LIMIT $3
    ) AS next
) AS summed
WHERE bytes - octet_length(raw_frame) < $4
ORDER BY position
"""


async def read_tails(connection: Connection, positions: dict[UUID, int]) -> News:
    """Return what is new after a position of each stream, by stream, in order of position."""
    with translated():
        rows = await connection.fetch(
            _READ_TAILS, list(positions), list(positions.values()), READ_EVENTS, READ_BYTES, READ_ALL_EVENTS
        )
    found: dict[UUID, list[EventRow]] = {}
    for stream_id, *event in rows:
        found.setdefault(stream_id, []).append(EventRow(*event))
    return News(found, len(rows) == READ_ALL_EVENTS or any(_is_full(events) for events in found.values()))


async def read_epoch_page(pool: Pool, stream_id: UUID, *, epoch: int, after_seq: int) -> Rows:
    """Return the next events of an epoch after a seq, in order of seq."""
    with translated():
        rows = await pool.fetch(_EPOCH_PAGE, stream_id, epoch, after_seq, READ_EVENTS, READ_BYTES)
    return _rows(rows)


async def read_position_page(pool: Pool, stream_id: UUID, *, after_position: int) -> Rows:
    """Return the next events of a stream after a position, in order of position."""
    with translated():
        rows = await pool.fetch(_POSITION_PAGE, stream_id, after_position, READ_EVENTS, READ_BYTES)
    return _rows(rows)


def _rows(records: list[Record]) -> Rows:
    events = [EventRow(*record) for record in records]
    return Rows(events, _is_full(events))


def _is_full(events: list[EventRow]) -> bool:
    return len(events) == READ_EVENTS or sum(len(event.raw_frame) for event in events) >= READ_BYTES


# --- streams ---------------------------------------------------------------------------------------------

_RESOLVE = """
SELECT streams.forwarder_id, streams.reader_ip, stream_id, last_position
FROM unnest($1::text[], $2::text[]) AS named(forwarder_id, reader_ip)
JOIN streams USING (forwarder_id, reader_ip)
"""
# A cursor beyond what is stored is void: left in place it would count again as soon as as much is stored.
_STARTING_POINTS = """
WITH void AS (
    DELETE FROM receiver_cursors AS cursors
    WHERE receiver_id = $1 AND stream_id = ANY($2::uuid[])
      AND last_seq > coalesce((SELECT metrics.last_seq FROM stream_metrics AS metrics
                               WHERE metrics.stream_id = cursors.stream_id
                                 AND metrics.stream_epoch = cursors.stream_epoch), 0)
)
SELECT streams.stream_id, streams.last_position, metrics.stream_epoch, metrics.last_seq, cursors.last_seq AS acked
FROM streams
LEFT JOIN stream_metrics AS metrics ON metrics.stream_id = streams.stream_id
LEFT JOIN receiver_cursors AS cursors
    ON cursors.receiver_id = $1 AND cursors.stream_id = streams.stream_id
   AND cursors.stream_epoch = metrics.stream_epoch
WHERE streams.stream_id = ANY($2::uuid[])
"""


async def resolve_streams(pool: Pool, refs: Sequence[StreamRef]) -> dict[StreamRef, Resolved]:
    """Return those of the named streams that exist."""
    with translated():
        rows = await pool.fetch(_RESOLVE, [ref.forwarder_id for ref in refs], [ref.reader_ip for ref in refs])
    return {
        StreamRef(row["forwarder_id"], row["reader_ip"]): Resolved(row["stream_id"], row["last_position"])
        for row in rows
    }


async def starting_points(pool: Pool, receiver_id: str, stream_ids: list[UUID]) -> dict[UUID, StartingPoint]:
    """Return where a receiver stands in each of the streams that still exist."""
    with translated():
        rows = await pool.fetch(_STARTING_POINTS, receiver_id, stream_ids)
    found: dict[UUID, StartingPoint] = {}
    for stream_id, last_position, epoch, last_seq, acked in rows:
        point = found.setdefault(stream_id, StartingPoint(last_position, {}, {}))
        if epoch is not None:
            point.epochs[epoch] = last_seq
        if acked is not None:
            point.cursors[epoch] = acked
    return found


# --- sessions and cursors --------------------------------------------------------------------------------

_BEGIN = """
INSERT INTO receiver_sessions (session_id, receiver_id, fanout_id, token_id) VALUES ($1, $2, $3, $4)
"""
_SUBSCRIBE = "UPDATE receiver_sessions SET stream_ids = $2 WHERE session_id = $1"
_END = "DELETE FROM receiver_sessions WHERE session_id = $1"
# A session that began after its node looked at those it has is not among them: only what is older is forgotten. A node
# that died left its sessions behind; its row in processes is gone when it left in order, or after a day.
_FORGET = """
DELETE FROM receiver_sessions AS sessions
WHERE (fanout_id = $1 AND session_id <> ALL($2::uuid[]) AND connected_at < now() - interval '1 minute')
   OR NOT EXISTS (SELECT FROM processes WHERE process_id = sessions.fanout_id)
"""

# Forward only, and never past what is stored. Sorted, so that two nodes take row locks in the same order.
# Cursors of streams that were deleted fall out with the join.
_ADVANCE = """
INSERT INTO receiver_cursors AS cursors (receiver_id, stream_id, stream_epoch, last_seq)
SELECT acked.receiver_id, stream_id, stream_epoch, least(acked.last_seq, metrics.last_seq)
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[])
    AS acked(receiver_id, stream_id, stream_epoch, last_seq)
JOIN stream_metrics AS metrics USING (stream_id, stream_epoch)
ORDER BY 1, 2, 3
ON CONFLICT (receiver_id, stream_id, stream_epoch) DO UPDATE
SET last_seq = excluded.last_seq, updated_at = now()
WHERE cursors.last_seq < excluded.last_seq
"""


async def begin_session(
    pool: Pool, *, session_id: UUID, receiver_id: str, fanout_id: UUID, token_id: UUID
) -> None:
    """Make a receiver's session known."""
    with translated():
        await pool.execute(_BEGIN, session_id, receiver_id, fanout_id, token_id)


async def subscribe_session(pool: Pool, session_id: UUID, stream_ids: Iterable[UUID]) -> None:
    """Note which streams a session is subscribed to."""
    with translated():
        await pool.execute(_SUBSCRIBE, session_id, list(stream_ids))


async def end_session(pool: Pool, session_id: UUID) -> None:
    """Forget a session."""
    with translated():
        await pool.execute(_END, session_id)


async def forget_other_sessions(pool: Pool, fanout_id: UUID, session_ids: Iterable[UUID]) -> None:
    """Forget the sessions of this node that ended while the database was away, and those of nodes that are gone."""
    with translated():
        await pool.execute(_FORGET, fanout_id, list(session_ids))


async def advance_cursors(pool: Pool, cursors: dict[CursorKey, int]) -> None:
    """Move cursors forward to `last_seq` by key, in one statement; RowLocked when somebody holds one of them."""
    receivers, streams, epochs = zip(*cursors, strict=True)
    try:
        with translated():
            await pool.execute(_ADVANCE, receivers, streams, epochs, list(cursors.values()))
    except DatabaseUnavailable as error:
        if isinstance(error.__cause__, LockNotAvailableError):
            raise RowLocked("another transaction holds a row of the cursors' streams") from error
        raise
