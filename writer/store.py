"""All SQL of the writer: lock, drain, put aside, empty.

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

import asyncpg

from shared.database import Connection
from shared.errors import DatabaseUnavailable, RtServerError, translated

__all__ = [
    "LOCK_TIMEOUT",
    "BatchKey",
    "Conflict",
    "Drained",
    "InboxState",
    "Locked",
    "PartKey",
    "RowLocked",
    "drain",
    "empty_inbox",
    "forget_outcomes",
    "has_parts",
    "inbox_state",
    "lock_streams",
    "poison",
    "queued_parts",
    "reject_gone",
    "vacuum_inbox",
]

# Longer than the upkeep needs the inbox for itself, shorter than deadlock_timeout.
LOCK_TIMEOUT = "500ms"


class RowLocked(RtServerError):
    """Somebody else holds a row that we need, and goes on holding it."""


# First statement of a drain: the streams that have something in the inbox and that nobody else works on, those
# first that wait longest. The draining statement comes after it, so that its snapshot is younger than the locks.
# FOR NO KEY UPDATE: plain FOR UPDATE would also block whoever inserts a row that refers to the stream.
# $1: streams to leave out; $2: how many at the most; $3: only this one, or null.
#
# An administrator who deletes a stream's past begins with its counts. They are locked too, the row of the highest
# epoch for all: until his transaction ends nothing may be written that it half deletes, and no count may be added
# to a row that it is about to take away. `resting` tells that he was first.
_LOCK = """
WITH locked AS MATERIALIZED (
    SELECT streams.stream_id,
           (SELECT max(stream_epoch) FROM stream_metrics
            WHERE stream_metrics.stream_id = streams.stream_id) AS stream_epoch
    FROM (SELECT stream_id, min(arrival) AS oldest FROM inbox GROUP BY stream_id) AS queued
    JOIN streams USING (stream_id)
    WHERE stream_id <> ALL($1::uuid[]) AND stream_id = coalesce($3, stream_id)
    ORDER BY queued.oldest
    LIMIT $2
    FOR NO KEY UPDATE OF streams SKIP LOCKED
),
counted AS MATERIALIZED (
    SELECT stream_metrics.stream_id FROM locked JOIN stream_metrics USING (stream_id, stream_epoch)
    FOR NO KEY UPDATE OF stream_metrics SKIP LOCKED
)
SELECT stream_id, stream_epoch IS NOT NULL AND stream_id NOT IN (SELECT stream_id FROM counted) AS resting
FROM locked
"""

# $1: streams whose locks are held; $2: stop taking parts beyond this many events; $3, $4: only the part of this
# gateway and number, or nulls; $5: whether to tell the batches that the parts were of.
#
#   taken      parts, oldest first, off the inbox
#   arrived    their events, of sessions that nobody has taken the device from
#   judged     new, retransmit (same bytes under the identity) or conflict (other bytes): against what is
#              stored, and for copies within this drain against the first of them
#   ...        new ones into events, at the next positions; conflicts aside; counts and outcomes
#
# The look-up of stored events is LATERAL with LIMIT so that it is one probe of the primary key for each event,
# whatever the planner thinks of row counts. An integer range cannot end above 2^63-1, so the last number of all
# is left out of the gaps.
_DRAIN = """
WITH taken AS (
    DELETE FROM inbox
    USING (
        SELECT gateway_id, part_id, sum(event_count) OVER (ORDER BY arrival) - event_count AS events_before
        FROM inbox
        WHERE stream_id = ANY($1::uuid[])
          AND gateway_id = coalesce($3, gateway_id) AND part_id = coalesce($4, part_id)
    ) AS queued
    WHERE queued.events_before < $2
      AND inbox.gateway_id = queued.gateway_id AND inbox.part_id = queued.part_id
    RETURNING inbox.*, EXISTS (
        SELECT FROM forwarder_sessions AS newer
        WHERE newer.forwarder_id = inbox.forwarder_id AND newer.fence > inbox.fence
    ) AS fenced
),
arrived AS (
    SELECT taken.gateway_id, taken.part_id, taken.arrival, taken.session_id, taken.stream_id,
           taken.stream_epoch, taken.received_at, event.*
    FROM taken, unnest(seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats, parse_errors)
        WITH ORDINALITY AS event(seq, raw_frame, reader_timestamp, read_type, tag_id, read_at, parse_error, place)
    WHERE NOT taken.fenced
),
compared AS (
    SELECT arrived.*,
           row_number() OVER copies AS copy,
           stored.raw_frame IS NULL AS unknown,
           coalesce(stored.raw_frame, first_value(arrived.raw_frame) OVER copies) AS kept_frame
    FROM arrived
    LEFT JOIN LATERAL (
        SELECT events.raw_frame FROM events
        WHERE events.stream_id = arrived.stream_id
          AND events.stream_epoch = arrived.stream_epoch
          AND events.seq = arrived.seq
        LIMIT 1
    ) AS stored ON true
    WINDOW copies AS (PARTITION BY arrived.stream_id, stream_epoch, seq ORDER BY arrival, place)
),
judged AS (
    SELECT *, CASE WHEN unknown AND copy = 1 THEN 'new'
                   WHEN raw_frame = kept_frame THEN 'retransmit'
                   ELSE 'conflict' END AS verdict
    FROM compared
),
stored AS (
    INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame,
                        reader_timestamp, read_type, tag_id, parse_error)
    SELECT stream_id, judged.stream_epoch, seq,
           last_position + row_number() OVER (PARTITION BY stream_id ORDER BY arrival, place),
           received_at, read_at, raw_frame, reader_timestamp, read_type, tag_id, parse_error
    FROM judged JOIN streams USING (stream_id)
    WHERE verdict = 'new'
),
quarantined AS (
    INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame,
                                     reader_timestamp, read_type, received_at, session_id)
    SELECT stream_id, stream_epoch, seq, kept_frame, raw_frame, reader_timestamp, read_type, received_at,
           session_id
    FROM judged
    WHERE verdict = 'conflict'
    ON CONFLICT (stream_id, stream_epoch, seq, sha256(rejected_frame)) DO NOTHING
),
new_chips AS (
    INSERT INTO epoch_chips (stream_id, stream_epoch, tag_id)
    SELECT DISTINCT stream_id, stream_epoch, tag_id FROM judged WHERE verdict = 'new' AND tag_id IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING stream_id, stream_epoch
),
counted AS (
    SELECT stream_id, stream_epoch,
           count(*) AS raw,
           count(*) FILTER (WHERE verdict = 'new') AS dedup,
           count(*) FILTER (WHERE verdict = 'retransmit') AS retransmit,
           count(*) FILTER (WHERE verdict = 'conflict') AS conflict,
           count(*) FILTER (WHERE verdict = 'new' AND parse_error IS NOT NULL) AS unparsed,
           min(seq) AS first_seq,
           max(seq) AS last_seq,
           min(received_at) AS first_received_at,
           max(received_at) FILTER (WHERE verdict = 'new') AS last_received_at,
           (array_agg(tag_id ORDER BY arrival DESC, place DESC) FILTER (WHERE tag_id IS NOT NULL))[1] AS last_tag,
           (array_agg(reader_timestamp ORDER BY arrival DESC, place DESC))[1] AS last_timestamp,
           range_agg(int8range(seq, least(seq, 9223372036854775806) + 1)) AS seen
    FROM judged
    GROUP BY stream_id, stream_epoch
),
totalled AS (
    SELECT counted.*, metrics.first_seq AS old_first, metrics.first_received_at AS old_first_received_at,
           metrics.last_received_at AS old_last_received_at, metrics.last_tag_id AS old_tag,
           metrics.last_reader_timestamp AS old_timestamp,
           coalesce(metrics.raw_count, 0) AS old_raw, coalesce(metrics.dedup_count, 0) AS old_dedup,
           coalesce(metrics.retransmit_count, 0) AS old_retransmit,
           coalesce(metrics.conflict_count, 0) AS old_conflict,
           coalesce(metrics.unparsed_count, 0) AS old_unparsed, coalesce(metrics.chip_count, 0) AS old_chips,
           coalesce(metrics.last_seq, 0) AS old_last,
           coalesce(metrics.missing, '{}') AS old_missing,
           (SELECT count(*) FROM new_chips
            WHERE new_chips.stream_id = counted.stream_id
              AND new_chips.stream_epoch = counted.stream_epoch) AS chips
    FROM counted
    LEFT JOIN stream_metrics AS metrics USING (stream_id, stream_epoch)
),
metered AS (
    INSERT INTO stream_metrics AS metrics
        (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count, unparsed_count,
         chip_count, first_seq, last_seq, first_received_at, last_received_at, last_tag_id,
         last_reader_timestamp, missing)
    SELECT stream_id, stream_epoch, old_raw + raw, old_dedup + dedup, old_retransmit + retransmit,
           old_conflict + conflict, old_unparsed + unparsed, old_chips + chips,
           least(old_first, first_seq), greatest(old_last, last_seq),
           least(old_first_received_at, first_received_at),
           coalesce(greatest(old_last_received_at, last_received_at), first_received_at),
           CASE WHEN dedup > 0 THEN coalesce(last_tag, old_tag) ELSE old_tag END,
           CASE WHEN dedup > 0 THEN last_timestamp ELSE coalesce(old_timestamp, last_timestamp) END,
           coalesce((
               SELECT range_agg(gap) FROM (
                   SELECT gap
                   FROM unnest(old_missing + int8multirange(int8range(
                            least(old_last, 9223372036854775806) + 1,
                            least(greatest(old_last, last_seq), 9223372036854775806) + 1)) - seen) AS gap
                   LIMIT 1000
               ) AS first_gaps), '{}')
    FROM totalled
    ON CONFLICT (stream_id, stream_epoch) DO UPDATE
    SET raw_count = excluded.raw_count, dedup_count = excluded.dedup_count,
        retransmit_count = excluded.retransmit_count, conflict_count = excluded.conflict_count,
        unparsed_count = excluded.unparsed_count, chip_count = excluded.chip_count,
        first_seq = excluded.first_seq, last_seq = excluded.last_seq,
        first_received_at = excluded.first_received_at, last_received_at = excluded.last_received_at,
        last_tag_id = excluded.last_tag_id, last_reader_timestamp = excluded.last_reader_timestamp,
        missing = excluded.missing
),
advanced AS (
    UPDATE streams
    SET last_position = last_position + grown.dedup, stream_epoch = greatest(streams.stream_epoch, grown.top)
    FROM (SELECT stream_id, sum(dedup)::bigint AS dedup, max(stream_epoch) AS top
          FROM counted GROUP BY stream_id) AS grown
    WHERE streams.stream_id = grown.stream_id
      AND (grown.dedup > 0 OR grown.top > streams.stream_epoch)
),
reported AS (
    INSERT INTO outcomes (gateway_id, outcome, part_ids)
    SELECT gateway_id, outcome, array_agg(part_id)
    FROM (
        SELECT gateway_id, part_id,
               CASE WHEN fenced THEN 'fenced'
                    WHEN (gateway_id, part_id) IN (
                        SELECT gateway_id, part_id FROM judged WHERE verdict = 'conflict') THEN 'conflict'
                    ELSE 'stored' END AS outcome
        FROM taken
    ) AS parts
    GROUP BY gateway_id, outcome
    RETURNING gateway_id, cardinality(part_ids) AS parts
)
SELECT (SELECT coalesce(sum(parts), 0)::integer FROM reported) AS parts,
       EXISTS (SELECT FROM inbox WHERE (gateway_id, part_id) NOT IN (SELECT gateway_id, part_id FROM taken)) AS left,
       ARRAY(SELECT DISTINCT gateway_id FROM reported) AS gateway_ids,
       coalesce(sum(dedup), 0)::bigint AS stored,
       coalesce(sum(retransmit), 0)::bigint AS retransmitted,
       coalesce(sum(conflict), 0)::bigint AS conflicting,
       ARRAY(SELECT (stream_id, stream_epoch, seq) FROM judged WHERE verdict = 'conflict' LIMIT 20) AS conflicts,
       ARRAY(SELECT DISTINCT (forwarder_id, received_at) FROM taken WHERE $5 AND NOT fenced) AS batches
FROM counted
"""

# What was left for gateways that are no more.
_FORGET = "DELETE FROM outcomes WHERE gateway_id NOT IN (SELECT process_id FROM processes)"

# Parts whose stream an administrator has deleted: their gateway makes the stream anew and stages them again.
_REJECT_GONE = """
WITH gone AS (
    DELETE FROM inbox
    WHERE (gateway_id, part_id) IN (
        SELECT gateway_id, part_id FROM inbox AS orphan
        WHERE NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = orphan.stream_id)
        FOR UPDATE SKIP LOCKED)
    RETURNING gateway_id, part_id
)
INSERT INTO outcomes (gateway_id, outcome, part_ids)
SELECT gateway_id, 'gone', array_agg(part_id) FROM gone GROUP BY gateway_id
RETURNING gateway_id
"""

_QUEUED = "SELECT gateway_id, part_id FROM inbox WHERE stream_id = $1 ORDER BY arrival LIMIT $2"

# Its device sends the same again and again: that is kept once.
_POISON = """
WITH poisoned AS (
    DELETE FROM inbox WHERE gateway_id = $1 AND part_id = $2
    RETURNING inbox.*, $3::text AS error
),
kept AS (
    INSERT INTO poisoned_parts (gateway_id, part_id, arrival, forwarder_id, fence, session_id, stream_id,
                                stream_epoch, received_at, event_count, seqs, raw_frames, reader_timestamps,
                                read_types, tag_ids, read_ats, parse_errors, error)
    SELECT gateway_id, part_id, arrival, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
           event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats, parse_errors, error
    FROM poisoned
    WHERE NOT EXISTS (
        SELECT FROM poisoned_parts AS known
        WHERE known.stream_id = poisoned.stream_id AND known.stream_epoch = poisoned.stream_epoch
          AND known.seqs = poisoned.seqs AND known.raw_frames = poisoned.raw_frames)
)
INSERT INTO outcomes (gateway_id, outcome, part_ids)
SELECT gateway_id, 'poisoned', ARRAY[part_id] FROM poisoned
RETURNING gateway_id
"""

_STATE = """
SELECT count(*) AS parts,
       coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::float AS age_s,
       pg_total_relation_size('inbox') + pg_total_relation_size('outcomes') AS bytes
FROM inbox
"""

_VACUUM = "VACUUM (SKIP_LOCKED, TRUNCATE false) inbox, outcomes"

# One message, one transaction: a writer that is stopped in the middle holds nothing. The few rows that live are
# carried over.
_EMPTY = """
LOCK TABLE inbox, outcomes IN ACCESS EXCLUSIVE MODE;
CREATE TEMPORARY TABLE kept_inbox ON COMMIT DROP AS SELECT * FROM inbox;
CREATE TEMPORARY TABLE kept_outcomes ON COMMIT DROP AS SELECT * FROM outcomes;
TRUNCATE inbox, outcomes;
INSERT INTO inbox SELECT * FROM kept_inbox;
INSERT INTO outcomes SELECT * FROM kept_outcomes;
"""


class Conflict(NamedTuple):
    """An identity that two different lines claim."""

    stream_id: UUID
    stream_epoch: int
    seq: int


class Locked(NamedTuple):
    """Streams by what a lock found: ours to drain, and those that rest because an administrator has their rows."""

    ours: list[UUID]
    resting: list[UUID]


class BatchKey(NamedTuple):
    """What names a batch in the logs (shared/trace.py)."""

    forwarder_id: str
    received_at: datetime


class PartKey(NamedTuple):
    """What names a part in the inbox."""

    gateway_id: UUID
    part_id: int


class Drained(NamedTuple):
    """What one drain did: parts taken and whether others were `left`, whom to tell, and events by verdict; the
    first 20 conflicts; where they were asked for, the batches.
    """

    parts: int
    left: bool
    gateway_ids: list[UUID]
    stored: int
    retransmitted: int
    conflicting: int
    conflicts: list[Conflict]
    batches: list[BatchKey]


class InboxState(NamedTuple):
    """How full the inbox is: parts that wait, age of the oldest in seconds, bytes on disk."""

    parts: int
    age_s: float
    bytes: int


async def lock_streams(
    connection: Connection, *, limit: int, but: Sequence[UUID] = (), only: UUID | None = None
) -> Locked:
    """Lock up to `limit` streams that have parts in the inbox, except `but`, or just `only`.

    Those that another writer holds are skipped.
    """
    with translated():
        rows = await connection.fetch(_LOCK, but, limit, only)
    return Locked(
        [row["stream_id"] for row in rows if not row["resting"]],
        [row["stream_id"] for row in rows if row["resting"]],
    )


async def drain(
    connection: Connection,
    streams: list[UUID],
    *,
    max_events: int,
    only: PartKey | None = None,
    name_batches: bool = False,
) -> Drained:
    """Write what the inbox holds of streams whose locks are held; to be committed by the caller.

    Takes parts until `max_events` is reached or exceeded, at least one; or just `only`. With `name_batches` it tells
    which batches they were of. Raises RowLocked, DatabaseRefused (some part is at fault), DatabaseUnavailable.
    """
    try:
        with translated():
            row = await connection.fetchrow(
                _DRAIN, streams, max_events, *(only or (None, None)), name_batches
            )
    except RtServerError as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise RowLocked("another transaction holds a row of the stream") from error
        raise
    if row is None:
        raise DatabaseUnavailable("an aggregate without a row")
    conflicts = [Conflict(*each) for each in row["conflicts"]]
    batches = [BatchKey(*each) for each in row["batches"]]
    return Drained(**{**row, "conflicts": conflicts, "batches": batches})


async def reject_gone(connection: Connection) -> list[UUID]:
    """Take parts of deleted streams off the inbox and return the gateways to tell."""
    with translated():
        return [row["gateway_id"] for row in await connection.fetch(_REJECT_GONE)]


async def queued_parts(connection: Connection, stream_id: UUID, limit: int) -> list[PartKey]:
    """Return the oldest parts of a stream."""
    with translated():
        rows = await connection.fetch(_QUEUED, stream_id, limit)
    return [PartKey(row["gateway_id"], row["part_id"]) for row in rows]


async def poison(connection: Connection, part: PartKey, error: str) -> bool:
    """Put a part that cannot be written aside, whole, with the reason; false when it is there no more."""
    with translated():
        return await connection.fetchval(_POISON, *part, error) is not None


async def forget_outcomes(connection: Connection) -> None:
    """Delete what nobody will ever collect."""
    with translated():
        await connection.execute(_FORGET)


async def has_parts(connection: Connection) -> bool:
    """Whether anything lies in the inbox."""
    with translated():
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM inbox)"))


async def inbox_state(connection: Connection) -> InboxState:
    """Look at the inbox from outside."""
    with translated():
        row = await connection.fetchrow(_STATE)
    return InboxState(row["parts"], row["age_s"], row["bytes"]) if row else InboxState(0, 0.0, 0)


async def empty_inbox(connection: Connection) -> bool:
    """Give back what dead rows occupy; false when somebody else (a backup) holds the tables.

    At full load dead rows gather faster than vacuum takes them away, and while a long snapshot lasts it takes
    none. A truncate does, whatever snapshots there are. Everyone locks the inbox before the outcomes, so nobody
    can wait for us in a circle; and nobody waits long, because we give up after the lock timeout.
    """
    try:
        with translated():
            await connection.execute(_EMPTY)
    except DatabaseUnavailable as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            return False
        raise
    return True


async def vacuum_inbox(connection: Connection) -> None:
    """Make the room of dead rows free for new ones, as far as no older snapshot may still look at them."""
    with translated():
        await connection.execute(_VACUUM)
