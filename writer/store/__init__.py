"""What the drain asks (its own SQL is migrations/routines/drain.sql): lock, drain, put aside.

Why writers cannot deadlock, with each other or with anyone: they take the locks of streams by SKIP LOCKED, never
waiting, and before anything else; everything they write then belongs to a stream that they hold (events, metrics,
chips, conflicts, parts) or is a new row without a unique key (outcomes). What holds a lock on such a row all the
same is an administrator's transaction. Where that has begun to delete a stream's counts, it is seen beforehand and
the stream left alone for a while; for anything else they wait LOCK_TIMEOUT at the most, below Postgres' own
deadlock_timeout (writer/drain.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable, translated, translated_rows

__all__ = [
    "LOCK_TIMEOUT",
    "BatchKey",
    "Conflict",
    "Drained",
    "Locked",
    "PartKey",
    "drain",
    "has_parts",
    "lock_streams",
    "put_aside",
    "queued_parts",
    "reject_stream_deleted",
]

# Longer than the upkeep needs the inbox for itself, shorter than deadlock_timeout.
LOCK_TIMEOUT = "500ms"


_LOCK = "SELECT stream_id, resting FROM lock_streams($1, $2, $3)"
_DRAIN = "CALL drain($1, $2, $3, $4, $5, $6, $7, NULL, NULL, NULL, NULL)"

# Parts whose stream an administrator has deleted: their gateway makes the stream anew and stages them again. Deleted
# and reported in one statement, as everything that ends a part: one that is in neither table counts as never staged.
# Each stream is looked up in the drain's form, which no statistics make a walk through all streams; deleted is by the
# place, which nobody changes.
_REJECT_STREAM_DELETED = """
WITH gone AS (
    DELETE FROM inbox
    WHERE ctid = ANY(ARRAY(
        SELECT orphan.ctid FROM inbox AS orphan
        LEFT JOIN LATERAL (
            SELECT streams.stream_id FROM streams
            WHERE streams.stream_id >= orphan.stream_id AND streams.stream_id <= orphan.stream_id
            ORDER BY streams.stream_id DESC LIMIT 1
        ) AS stream ON true
        WHERE stream.stream_id IS NULL
        FOR UPDATE OF orphan SKIP LOCKED))
    RETURNING gateway_id, part_id
)
INSERT INTO outcomes (gateway_id, outcome, part_ids)
SELECT gateway_id, 'gone', array_agg(part_id) FROM gone GROUP BY gateway_id
RETURNING gateway_id
"""

# In the order in which the gateways staged them, which is that of the devices' messages.
_QUEUED = "SELECT gateway_id, part_id FROM inbox WHERE stream_id = $1 ORDER BY arrival LIMIT $2"

# Its device sends the same again and again: that is kept once, and reported every time, or it would never be told why.
# LATERAL with a LIMIT, and not NOT EXISTS: that may be done by going through all dead letters.
_PUT_ASIDE = """
WITH poisoned AS (
    DELETE FROM inbox WHERE gateway_id = $1 AND part_id = $2
    RETURNING inbox.*, $3::text AS error
),
kept AS (
    INSERT INTO poisoned_parts (gateway_id, part_id, arrival, forwarder_id, fence, session_id, stream_id,
                                stream_epoch, received_at, event_count, seqs, raw_frames, reader_timestamps,
                                read_types, tag_ids, read_ats, parse_errors, framed, error)
    SELECT gateway_id, part_id, arrival, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
           event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats, parse_errors, framed,
           error
    FROM poisoned
    LEFT JOIN LATERAL (
        SELECT true AS kept FROM poisoned_parts AS letter
        WHERE letter.stream_id = poisoned.stream_id AND letter.stream_epoch = poisoned.stream_epoch
          AND letter.seqs = poisoned.seqs AND letter.raw_frames = poisoned.raw_frames
        LIMIT 1
    ) AS known ON true
    WHERE known.kept IS NULL
)
INSERT INTO outcomes (gateway_id, outcome, part_ids)
SELECT gateway_id, 'poisoned', ARRAY[part_id] FROM poisoned
RETURNING gateway_id
"""


class Conflict(NamedTuple):
    """An identity that two different lines claim: (stream, epoch 2, number 130)."""

    stream_id: UUID
    stream_epoch: int
    seq: int


class Locked(NamedTuple):
    """Streams by what a lock found: those that may be drained now, and those that rest: an administrator has their
    rows.
    """

    locked: list[UUID]
    resting: list[UUID]


class BatchKey(NamedTuple):
    """What names a batch in the logs (shared/trace.py): its forwarder, and when its gateway got it."""

    forwarder_id: str
    received_at: datetime


class PartKey(NamedTuple):
    """What names a part in the inbox: the gateway that staged it, and its number for it."""

    gateway_id: UUID
    part_id: int


class Drained(NamedTuple):
    """What one drain did: parts taken and whether others were `left`, whom was told, and events by verdict; the first
    20 conflicts; where they were asked for, the batches. All of it took `seconds`, the commit
    alone `commit_seconds`.
    """

    parts: int
    left: bool
    gateway_ids: list[UUID]
    stored: int
    retransmitted: int
    conflicting: int
    conflicts: list[Conflict]
    batches: list[BatchKey]
    seconds: float
    commit_seconds: float


async def lock_streams(
    connection: Connection, *, limit: int, but: Sequence[UUID] = (), only: UUID | None = None
) -> Locked:
    """Lock up to `limit` streams that have parts in the inbox, except `but`, or just `only`.

    Those that another writer holds are skipped. The locks last until the transaction ends.
    """
    with translated():
        rows = await connection.fetch(_LOCK, but, limit, only)
    return Locked(
        [row["stream_id"] for row in rows if not row["resting"]],
        [row["stream_id"] for row in rows if row["resting"]],
    )


async def drain(
    connection: Connection,
    *,
    max_streams: int,
    max_events: int,
    but: Sequence[UUID] = (),
    only_stream: UUID | None = None,
    only_part: PartKey | None = None,
    name_batches: bool = False,
) -> tuple[Drained | None, list[UUID]]:
    """Write what the inbox holds of streams that can be had, commit and notify.

    Takes parts until `max_events` is reached or exceeded, at least one; of one stream, or just one part, where they are
    named. Returns what was done, None without a stream to be had, and the streams that rest because an administrator
    has their rows. With `name_batches` it tells which batches the parts were of. Raises RowLocked, DatabaseRefused
    (some part is at fault), DatabaseUnavailable.
    """
    part = only_part or (None, None)
    with translated_rows():
        row = await connection.fetchrow(
            _DRAIN, but, max_streams, max_events, name_batches, only_stream, *part
        )
    if row is None:
        raise DatabaseUnavailable("a procedure without an answer")
    result = row["result"]
    if result is None:
        return None, row["resting"]
    conflicts = [Conflict(*each) for each in result["conflicts"]]
    batches = [BatchKey(*each) for each in result["batches"]]
    drained = Drained(
        **{**result, "conflicts": conflicts, "batches": batches},
        seconds=row["drain_seconds"],
        commit_seconds=row["commit_seconds"],
    )
    return drained, row["resting"]


async def reject_stream_deleted(connection: Connection) -> list[UUID]:
    """Take parts of deleted streams off the inbox and return the gateways to tell."""
    with translated():
        return [row["gateway_id"] for row in await connection.fetch(_REJECT_STREAM_DELETED)]


async def queued_parts(connection: Connection, stream_id: UUID, limit: int) -> list[PartKey]:
    """Return the oldest parts of a stream."""
    with translated():
        rows = await connection.fetch(_QUEUED, stream_id, limit)
    return [PartKey(row["gateway_id"], row["part_id"]) for row in rows]


async def put_aside(connection: Connection, part: PartKey, error: str) -> bool:
    """Put a part that cannot be written aside, whole, with the reason; false when it is there no more."""
    with translated():
        return await connection.fetchval(_PUT_ASIDE, *part, error) is not None


async def has_parts(connection: Connection) -> bool:
    """Whether anything lies in the inbox."""
    with translated():
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM inbox)"))
