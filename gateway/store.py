"""All SQL of the gateway: one function a statement.

The gateway registers streams and sessions and stages parts. It reads no event and changes none.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from gateway.batch import Part
from shared.database import Connection, Pool
from shared.errors import RtServerError, translated

__all__ = [
    "AlreadyStaged",
    "Collected",
    "Outcome",
    "Probe",
    "Staged",
    "answer_probe",
    "ask_probe",
    "claim_session",
    "collect_outcomes",
    "end_session",
    "next_epoch",
    "owned_sessions",
    "probe_answered",
    "probed_sessions",
    "register_streams",
    "rename_forwarder",
    "stage",
    "staged_parts",
]

Outcome = Literal["stored", "conflict", "gone", "fenced", "poisoned"]


class AlreadyStaged(RtServerError):
    """A part lies in the inbox already: a staging that seemed lost was not."""


# --- streams ---------------------------------------------------------------------------------------------

# Sorted, so that two sessions that register the same readers take their locks in the same order.
_REGISTER = """
INSERT INTO streams (forwarder_id, reader_ip, forwarder_display_name)
SELECT DISTINCT $1, named.reader_ip, $3 FROM unnest($2::text[]) AS named(reader_ip)
ORDER BY named.reader_ip
ON CONFLICT (forwarder_id, reader_ip) DO NOTHING
"""
_STREAMS = "SELECT reader_ip, stream_id FROM streams WHERE forwarder_id = $1 AND reader_ip = ANY($2::text[])"

# The display name is the device's: it holds for all its streams. A writer never waits for a stream's lock,
# and two gateways take theirs in the same order: no deadlock.
_RENAME = """
WITH changed AS MATERIALIZED (
    SELECT stream_id FROM streams
    WHERE forwarder_id = $1 AND forwarder_display_name IS DISTINCT FROM $2
    ORDER BY stream_id
    FOR NO KEY UPDATE
)
UPDATE streams SET forwarder_display_name = $2 FROM changed WHERE streams.stream_id = changed.stream_id
"""

_NEXT_EPOCH = """
UPDATE streams SET stream_epoch = stream_epoch + 1
WHERE stream_id = $1 AND stream_epoch < 9223372036854775807
RETURNING stream_epoch
"""


async def register_streams(
    pool: Pool, forwarder_id: str, reader_ips: Iterable[str], display_name: str | None
) -> dict[str, UUID]:
    """Make the streams that do not exist yet and return the ids of all, by reader_ip."""
    named = list(set(reader_ips))
    with translated():
        found = await _streams(pool, forwarder_id, named)
        # Not once but until they are there: an administrator may delete them in between.
        while len(found) < len(named):
            await pool.execute(_REGISTER, forwarder_id, named, display_name)
            found = await _streams(pool, forwarder_id, named)
    return found


async def _streams(pool: Pool, forwarder_id: str, reader_ips: list[str]) -> dict[str, UUID]:
    rows = await pool.fetch(_STREAMS, forwarder_id, reader_ips)
    return {row["reader_ip"]: row["stream_id"] for row in rows}


async def rename_forwarder(pool: Pool, forwarder_id: str, display_name: str | None) -> None:
    """Set the display name on all streams of a forwarder; None clears it."""
    with translated():
        await pool.execute(_RENAME, forwarder_id, display_name)


async def next_epoch(pool: Pool, stream_id: UUID) -> int | None:
    """Reserve the epoch above everything seen or ever commanded of a stream; None when there is none.

    It is committed before the device hears of it: an epoch that is reserved in vain costs nothing, one that
    is commanded twice costs reads (protocol.md, section 6).
    """
    with translated():
        epoch: int | None = await pool.fetchval(_NEXT_EPOCH, stream_id)
    return epoch


# --- sessions --------------------------------------------------------------------------------------------

# The row of the forwarder's last session is taken over when that has ended or its gateway is dead; the row
# lock decides between two gateways at the same moment.
_CLAIM = """
INSERT INTO forwarder_sessions AS held (forwarder_id, session_id, fence, gateway_id, token_id, display_name)
VALUES ($1, $2, nextval('session_fence'), $3, $4, $5)
ON CONFLICT (forwarder_id) DO UPDATE
SET session_id = excluded.session_id, fence = excluded.fence, gateway_id = excluded.gateway_id,
    token_id = excluded.token_id, display_name = excluded.display_name, connected_at = now(),
    ended_at = NULL, probe_asked_at = NULL, probe_answered_at = NULL
WHERE held.ended_at IS NOT NULL
   OR held.gateway_id NOT IN (SELECT process_id FROM live_processes)
RETURNING fence
"""
_ASK_PROBE = """
UPDATE forwarder_sessions SET probe_asked_at = clock_timestamp()
WHERE forwarder_id = $1 AND ended_at IS NULL
"""
_PROBED = """
SELECT forwarder_id, session_id FROM forwarder_sessions
WHERE gateway_id = $1 AND ended_at IS NULL
  AND probe_asked_at > coalesce(probe_answered_at, '-infinity')
"""
_ANSWER_PROBE = """
UPDATE forwarder_sessions SET probe_answered_at = clock_timestamp() WHERE forwarder_id = $1 AND session_id = $2
"""
_WAS_ANSWERED = """
SELECT EXISTS (
    SELECT FROM forwarder_sessions
    WHERE forwarder_id = $1 AND ended_at IS NULL AND probe_answered_at >= probe_asked_at
)
"""
_END = """
UPDATE forwarder_sessions SET ended_at = clock_timestamp()
WHERE forwarder_id = $1 AND session_id = $2 AND ended_at IS NULL
RETURNING probe_asked_at IS NOT NULL
"""
_OWNED = "SELECT session_id FROM forwarder_sessions WHERE gateway_id = $1 AND ended_at IS NULL"


class Probe(NamedTuple):
    """A session of ours of which another connection of its device wants to know whether it is alive."""

    forwarder_id: str
    session_id: UUID


async def claim_session(
    pool: Pool,
    *,
    forwarder_id: str,
    session_id: UUID,
    gateway_id: UUID,
    token_id: UUID,
    display_name: str | None,
) -> int | None:
    """Take the forwarder's place and return the session's fence; None while another live session has it."""
    with translated():
        fence: int | None = await pool.fetchval(
            _CLAIM, forwarder_id, session_id, gateway_id, token_id, display_name
        )
    return fence


async def ask_probe(pool: Pool, forwarder_id: str) -> None:
    """Ask whoever holds the forwarder's session whether its device is still there."""
    with translated():
        await pool.execute(_ASK_PROBE, forwarder_id)


async def probed_sessions(pool: Pool, gateway_id: UUID) -> list[Probe]:
    """Return the sessions of a gateway that somebody asks about."""
    with translated():
        rows = await pool.fetch(_PROBED, gateway_id)
    return [Probe(row["forwarder_id"], row["session_id"]) for row in rows]


async def answer_probe(pool: Pool, forwarder_id: str, session_id: UUID) -> None:
    """Say that the session's device is there."""
    with translated():
        await pool.execute(_ANSWER_PROBE, forwarder_id, session_id)


async def probe_answered(pool: Pool, forwarder_id: str) -> bool:
    """Whether the last probe found the device there."""
    with translated():
        return bool(await pool.fetchval(_WAS_ANSWERED, forwarder_id))


async def end_session(pool: Pool, forwarder_id: str, session_id: UUID) -> bool:
    """Give the forwarder's place free, if this session has it; true when somebody waits for that."""
    with translated():
        return bool(await pool.fetchval(_END, forwarder_id, session_id))


async def owned_sessions(pool: Pool, gateway_id: UUID) -> set[UUID]:
    """Return the sessions that are this gateway's, as far as the database goes."""
    with translated():
        return {row["session_id"] for row in await pool.fetch(_OWNED, gateway_id)}


# --- the inbox -------------------------------------------------------------------------------------------

_INBOX_COLUMNS = (
    "gateway_id",
    "part_id",
    "forwarder_id",
    "fence",
    "session_id",
    "stream_id",
    "stream_epoch",
    "received_at",
    "event_count",
    "seqs",
    "raw_frames",
    "reader_timestamps",
    "read_types",
    "tag_ids",
    "read_ats",
    "parse_errors",
)
_STAGED = """
SELECT generation, ARRAY(SELECT part_id FROM inbox WHERE gateway_id = $1) AS part_ids FROM inbox_generation
"""

# Whoever finds the generation missing after a crash makes a new one; all others then see the same.
_GENERATION = """
INSERT INTO inbox_generation (generation) VALUES (gen_random_uuid()) ON CONFLICT (only_row) DO NOTHING
"""
_COLLECT = """
WITH taken AS (DELETE FROM outcomes WHERE gateway_id = $1 RETURNING outcome, part_ids)
SELECT generation, taken.outcome, taken.part_ids
FROM inbox_generation LEFT JOIN taken ON true
"""


class Staged(NamedTuple):
    """The inbox's generation (None: not known yet) and what lies in it."""

    generation: UUID | None
    part_ids: set[int]


class Collected(NamedTuple):
    """The inbox's generation, and the parts by what became of them since the last call."""

    generation: UUID
    outcomes: list[tuple[Outcome, list[int]]]


async def stage(connection: Connection, gateway_id: UUID, parts: Sequence[Part]) -> None:
    """Put parts into the inbox, all or none; AlreadyStaged when one lies there."""
    records = [_record(gateway_id, part) for part in parts]
    try:
        with translated():
            await connection.copy_records_to_table("inbox", records=records, columns=_INBOX_COLUMNS)
    except RtServerError as error:
        if isinstance(error.__cause__, asyncpg.UniqueViolationError):
            raise AlreadyStaged(str(error)) from error
        raise


async def staged_parts(connection: Connection, gateway_id: UUID) -> Staged:
    """Return the ids of this gateway's parts that still lie in the inbox, and the generation they are of."""
    with translated():
        row = await connection.fetchrow(_STAGED, gateway_id)
    return Staged(row["generation"], set(row["part_ids"])) if row else Staged(None, set())


async def collect_outcomes(connection: Connection, gateway_id: UUID) -> Collected:
    """Take what became of this gateway's parts, and look at the generation in the same snapshot."""
    with translated():
        rows = await connection.fetch(_COLLECT, gateway_id)
        while not rows:
            await connection.execute(_GENERATION)
            rows = await connection.fetch(_COLLECT, gateway_id)
    return Collected(
        rows[0]["generation"],
        [(row["outcome"], row["part_ids"]) for row in rows if row["outcome"] is not None],
    )


def _record(gateway_id: UUID, part: Part) -> tuple[object, ...]:
    """Return a row in the order of _INBOX_COLUMNS."""
    batch = part.batch
    return (
        gateway_id,
        part.part_id,
        batch.forwarder_id,
        batch.fence,
        batch.session_id,
        part.stream_id,
        part.stream_epoch,
        batch.received_at,
        len(part.seqs),
        part.seqs,
        part.raw_frames,
        part.reader_timestamps,
        part.read_types,
        part.tag_ids,
        part.read_ats,
        part.parse_errors,
    )
