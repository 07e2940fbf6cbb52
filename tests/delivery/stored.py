"""Events put straight into the tables, as a writer leaves them: for tests and measurements of delivery alone."""

from collections.abc import Sequence
from uuid import UUID

from shared.db.channels import POSITIONS, STREAMS
from shared.db.connections import Connection

__all__ = [
    "Stored",
    "delete_stream",
    "empty",
    "make_cursor",
    "make_stream",
    "retain_nothing",
    "store",
    "store_many",
]

# An event as (stream_epoch, seq, raw line).
Stored = tuple[int, int, bytes]

_MAKE = "INSERT INTO streams (forwarder_id, reader_ip) VALUES ($1, $2) RETURNING stream_id"
_LOCK = "SELECT last_position FROM streams WHERE stream_id = $1 FOR NO KEY UPDATE"
_STORE = """
WITH arrived AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::text[])
        WITH ORDINALITY AS event(stream_epoch, seq, raw_frame, reader_timestamp, place)
),
stored AS (
    INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
    SELECT $1, stream_epoch, seq, $6::bigint + place, now(), raw_frame, reader_timestamp, 'raw'
    FROM arrived
),
metered AS (
    INSERT INTO stream_metrics AS metrics
        (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count, unparsed_count,
         chip_count, first_seq, last_seq, first_received_at, last_received_at, last_reader_timestamp, missing)
    SELECT $1, stream_epoch, count(*), count(*), 0, 0, 0, 0, min(seq), max(seq), now(), now(), '',
           int8multirange(int8range(1, max(seq), '[]')) - range_agg(int8range(seq, seq, '[]'))
    FROM arrived GROUP BY stream_epoch
    ON CONFLICT (stream_id, stream_epoch) DO UPDATE
    SET raw_count = metrics.raw_count + excluded.raw_count,
        dedup_count = metrics.dedup_count + excluded.dedup_count,
        last_seq = greatest(metrics.last_seq, excluded.last_seq),
        -- What was missing and what is skipped now, less what arrived: all that the new ones miss, or lies above them.
        missing = (metrics.missing + int8multirange(int8range(metrics.last_seq,
                                      greatest(metrics.last_seq, excluded.last_seq), '(]')))
                * (excluded.missing + int8multirange(int8range(excluded.last_seq, NULL, '()')))
)
UPDATE streams
SET last_position = last_position + cardinality($2),
    stream_epoch = greatest(stream_epoch, (SELECT max(epoch) FROM unnest($2) AS epoch))
WHERE stream_id = $1
"""
# Epoch 1, seq 1 to $2, each line of the length that real ones have.
_STORE_MANY = """
WITH stored AS (
    INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
    SELECT $1, 1, n, n, now(), convert_to(lpad(n::text, 36, 'a'), 'UTF8'), '2026-02-22T10:11:12.340', 'raw'
    FROM generate_series(1, $2::bigint) AS n
),
metered AS (
    INSERT INTO stream_metrics
        (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count, unparsed_count,
         chip_count, first_seq, last_seq, first_received_at, last_received_at, last_reader_timestamp)
    VALUES ($1, 1, $2, $2, 0, 0, 0, 0, 1, $2, now(), now(), '')
)
UPDATE streams SET last_position = $2 WHERE stream_id = $1
"""
# As a session makes it when it begins with an epoch.
_MAKE_CURSOR = """
INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq, position, event_count)
VALUES ($1, $2, $3, 0, 0, 0) RETURNING cursor_id
"""
_ALL = (
    "events",
    "receiver_cursors",
    "receiver_sessions",
    "stream_metrics",
    "streams",
    "device_tokens",
    "races",
)
_RING = "SELECT pg_notify($1, '')"
# The runbook's procedure, as it is written (deploy/docs/runbook.md).
_RETAIN_NOTHING = (
    "DELETE FROM receiver_cursors WHERE stream_id = $1",
    "DELETE FROM stream_metrics WHERE stream_id = $1",
    "DELETE FROM events WHERE stream_id = $1",
)
_DELETE = "DELETE FROM streams WHERE stream_id = $1"


async def empty(database: Connection) -> None:
    """Delete everything, but not who is alive. Of few rows that is quicker than TRUNCATE."""
    for table in _ALL:
        await database.execute(f"DELETE FROM {table}")


async def make_stream(database: Connection, forwarder_id: str, reader_ip: str) -> UUID:
    """Make a stream, notify, and return its id."""
    stream_id: UUID = await database.fetchval(_MAKE, forwarder_id, reader_ip)
    await database.execute(_RING, STREAMS)
    return stream_id


async def store(
    database: Connection,
    stream_id: UUID,
    events: Sequence[Stored],
    *,
    reader_timestamp: str = "",
    notify: bool = True,
) -> None:
    """Store events at the next positions of a stream, in one commit, and notify, unless `notify` is false."""
    epochs, seqs, lines = zip(*events, strict=True)
    timestamps = [reader_timestamp] * len(events)
    async with database.transaction():
        position = await database.fetchval(_LOCK, stream_id)
        await database.execute(_STORE, stream_id, epochs, seqs, lines, timestamps, position)
    if notify:
        await database.execute(_RING, POSITIONS)


async def store_many(database: Connection, stream_id: UUID, count: int) -> None:
    """Store seqs 1 to `count` of epoch 1 in a stream that is empty."""
    await database.execute(_STORE_MANY, stream_id, count, timeout=600)
    await database.execute(_RING, POSITIONS)


async def make_cursor(database: Connection, receiver_id: str, stream_id: UUID, epoch: int = 1) -> int:
    """Make the row that acks of an epoch move, and return its id."""
    cursor_id: int = await database.fetchval(_MAKE_CURSOR, receiver_id, stream_id, epoch)
    return cursor_id


async def retain_nothing(database: Connection, stream_id: UUID) -> None:
    """Delete all that is stored of a stream, as an administrator does; the stream itself stays."""
    async with database.transaction():
        for statement in _RETAIN_NOTHING:
            await database.execute(statement, stream_id)


async def delete_stream(database: Connection, stream_id: UUID) -> None:
    """Delete a stream with all that is stored of it, as an administrator does."""
    async with database.transaction():
        for statement in (*_RETAIN_NOTHING, _DELETE):
            await database.execute(statement, stream_id)
