"""The forwarders' sessions: who holds which device, and whether it is still there."""

from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = [
    "Probe",
    "acquire_session",
    "answer_probe",
    "ask_probe",
    "end_session",
    "owned_sessions",
    "probe_answered",
    "probed_sessions",
]

# The row of the forwarder's last session is taken over when that has ended or its gateway is dead; the row
# lock decides between two gateways at the same moment.
_ACQUIRE = """
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
# Each question has a time, and an answer counts for what was asked before it: clock_timestamp, because now() is when a
# transaction began, which may have waited for the row.
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


async def acquire_session(
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
            _ACQUIRE, forwarder_id, session_id, gateway_id, token_id, display_name
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
