"""The housekeeping: what the inbox holds, and what is to be removed from it and from elsewhere."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Connection
from shared.db.errors import DISK_FULL, TableLocked, translated

__all__ = [
    "DeadLetter",
    "InboxState",
    "Snapshot",
    "empty_inbox",
    "forget_outcomes",
    "inbox_state",
    "old_snapshot",
    "resolve_dead_letters",
    "staging_problem",
    "vacuum_inbox",
]

# What was left for gateways that are no more.
_FORGET = "DELETE FROM outcomes WHERE gateway_id NOT IN (SELECT process_id FROM processes)"

# Whose every line is there by now, as an event or beside one, with whichever line end: its device has sent it again,
# and it was stored. Some at a time, whichever: what stays there for good must not keep the others from being looked at.
# Each line is looked up in the drain's form (migrations/routines/drain.sql says why): by `=`, and with NOT EXISTS, a
# young table's statistics have all events of the stream gone through for every line of a part.
_RESOLVE = """
DELETE FROM poisoned_parts AS letter
WHERE letter.ctid = ANY(ARRAY(SELECT ctid FROM poisoned_parts ORDER BY random() LIMIT $1))
  AND NOT EXISTS (
    SELECT FROM unnest(letter.seqs, letter.raw_frames) AS line(seq, raw_frame)
    CROSS JOIN LATERAL (SELECT without_line_end(line.raw_frame)) AS bare(line)
    LEFT JOIN LATERAL (
        SELECT without_line_end(events.raw_frame) AS line FROM events
        WHERE events.stream_id = letter.stream_id AND events.stream_epoch = letter.stream_epoch
          AND events.seq >= line.seq AND events.seq <= line.seq
        ORDER BY events.seq DESC LIMIT 1
    ) AS stored ON true
    LEFT JOIN LATERAL (
        SELECT conflict.seq FROM integrity_conflicts AS conflict
        WHERE conflict.stream_id = letter.stream_id AND conflict.stream_epoch = letter.stream_epoch
          AND conflict.seq >= line.seq AND conflict.seq <= line.seq
          AND sha256(conflict.rejected_frame)
              IN (sha256(bare.line), sha256(bare.line || '\\x0a'), sha256(bare.line || '\\x0d0a'))
        ORDER BY conflict.seq DESC LIMIT 1
    ) AS beside ON true
    WHERE stored.line IS DISTINCT FROM bare.line AND beside.seq IS NULL)
RETURNING letter.forwarder_id, letter.stream_id, letter.stream_epoch
"""

_STATE = """
SELECT count(*) AS parts,
       coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::float AS age_s,
       pg_total_relation_size('inbox') + pg_total_relation_size('outcomes') AS bytes
FROM inbox
"""

# A full disk may let nothing into the inbox, and then there is nothing to drain that would fail.
_STAGING_PROBLEM = """
SELECT problem FROM processes
WHERE role = 'gateway' AND problem LIKE '%' || $1 || '%' AND lease_expires_at > clock_timestamp()
LIMIT 1
"""

# Of all writers one tells, so that one cause is one entry of the operators' list.
_SNAPSHOT = """
SELECT holder, since FROM oldest_snapshot(make_interval(secs => $1))
WHERE $2 = (SELECT min(process_id::text) FROM live_processes WHERE role = 'writer')
"""

_VACUUM = "VACUUM (SKIP_LOCKED, TRUNCATE false) inbox, outcomes"

# One message, one transaction: a writer that is stopped in the middle holds nothing. The few rows that live are
# carried over.
# LOCK first of all: what is staged or drained between the copy and the truncate would be lost.
_EMPTY = """
LOCK TABLE inbox, outcomes IN ACCESS EXCLUSIVE MODE;
CREATE TEMPORARY TABLE kept_inbox ON COMMIT DROP AS SELECT * FROM inbox;
CREATE TEMPORARY TABLE kept_outcomes ON COMMIT DROP AS SELECT * FROM outcomes;
TRUNCATE inbox, outcomes;
INSERT INTO inbox SELECT * FROM kept_inbox;
INSERT INTO outcomes SELECT * FROM kept_outcomes;
"""


class DeadLetter(NamedTuple):
    """Whose part was put aside."""

    forwarder_id: str
    stream_id: UUID
    stream_epoch: int


class Snapshot(NamedTuple):
    """Who holds a snapshot, and since when."""

    holder: str
    since: datetime


class InboxState(NamedTuple):
    """How full the inbox is: parts that wait, age of the oldest in seconds, bytes on disk."""

    parts: int
    age_s: float
    bytes: int


async def resolve_dead_letters(connection: Connection, *, at_most: int = 20) -> list[DeadLetter]:
    """Take off the list what was put aside and has been stored since, looking at so many; return what that was."""
    with translated():
        rows = await connection.fetch(_RESOLVE, at_most)
    return [DeadLetter(*row) for row in rows]


async def forget_outcomes(connection: Connection) -> None:
    """Delete what nobody will ever collect."""
    with translated():
        await connection.execute(_FORGET)


async def inbox_state(connection: Connection) -> InboxState:
    """Look at the inbox from outside."""
    with translated():
        row = await connection.fetchrow(_STATE)
    return InboxState(row["parts"], row["age_s"], row["bytes"]) if row else InboxState(0, 0.0, 0)


async def staging_problem(connection: Connection) -> str | None:
    """Return what a gateway says of a full disk that lets nothing into the inbox, or None."""
    with translated():
        problem: str | None = await connection.fetchval(_STAGING_PROBLEM, DISK_FULL)
    return problem


async def old_snapshot(connection: Connection, process_id: UUID, *, older_than_s: float) -> Snapshot | None:
    """Return who holds the oldest snapshot, if it is older than that and this is the writer that is to tell."""
    with translated():
        row = await connection.fetchrow(_SNAPSHOT, older_than_s, str(process_id))
    return Snapshot(*row) if row else None


async def empty_inbox(connection: Connection) -> bool:
    """Give back what dead rows occupy; false when somebody else (a backup) holds the tables.

    At full load dead rows gather faster than vacuum takes them away, and while a long snapshot lasts it takes
    none. A truncate does, whatever snapshots there are. Everyone locks the inbox before the outcomes, so nobody
    can wait for us in a circle; and nobody waits long, because we give up after the lock timeout.
    """
    try:
        with translated():
            await connection.execute(_EMPTY)
    except TableLocked:
        return False
    return True


async def vacuum_inbox(connection: Connection) -> None:
    """Make the room of dead rows free for new ones, as far as no older snapshot may still look at them."""
    with translated():
        await connection.execute(_VACUUM)
