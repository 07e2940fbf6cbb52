"""Commands to forwarders: asked of the gateway that holds the session, looked at, and taken away again."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.db.connections import Pool
from shared.db.errors import translated
from shared.protocol.commands import Kind, Request

__all__ = ["Asked", "State", "Stream", "ask", "close", "connected_at", "find_stream", "look"]

# Who is connected is found and asked in one statement. What nobody took away, because its api process died, goes with
# the next command: nobody waits for it any more. Until expires_at it may be written, and then a device may take 18 s.
_ASK = """
WITH left_behind AS (DELETE FROM commands WHERE expires_at < clock_timestamp() - interval '30 s')
INSERT INTO commands (forwarder_id, session_id, gateway_id, kind, request, expires_at)
SELECT forwarder_id, session_id, gateway_id, $2, $3, clock_timestamp() + make_interval(secs => $4)
FROM live_forwarder_sessions
WHERE forwarder_id = $1 AND connected_at = coalesce($5, connected_at)
RETURNING command_id, gateway_id
"""
# What a gateway that counts as dead has in hand it may still do, if it only hangs: that is waited for.
_LOOK = """
SELECT CASE state WHEN 'asked' THEN gateway_id NOT IN (SELECT process_id FROM live_processes)
                  WHEN 'taken' THEN false
                  ELSE true END
FROM commands
WHERE command_id = $1
"""
# From here on nobody can take the command any more; what was written by then is its end.
_CLOSE = "DELETE FROM commands WHERE command_id = $1 RETURNING state, answer"
_CONNECTED_AT = "SELECT connected_at FROM live_forwarder_sessions WHERE forwarder_id = $1"
_STREAM = """
SELECT stream_id, forwarder_id, reader_ip, stream_epoch, stream_title(streams) AS title
FROM streams WHERE stream_id = $1
"""

State = Literal["asked", "taken", "done", "absent", "busy", "lost", "refused"]


class Asked(NamedTuple):
    """A command that is on its way, and to which gateway."""

    command_id: UUID
    gateway_id: UUID


class Stream(NamedTuple):
    """What it takes to reset a stream's epoch."""

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    title: str


async def ask(
    pool: Pool,
    forwarder_id: str,
    kind: Kind,
    request: Request,
    *,
    within_s: float,
    session_since: datetime | None = None,
) -> Asked | None:
    """Ask the gateway that holds the forwarder's session, within a time; None when nobody holds one, or none that began
    just then.
    """
    encoded = msgspec.json.encode(request)
    with translated():
        row = await pool.fetchrow(_ASK, forwarder_id, kind.name, encoded, within_s, session_since)
    return Asked(*row) if row else None


async def connected_at(pool: Pool, forwarder_id: str) -> datetime | None:
    """Return since when a forwarder is connected; None when it is not."""
    with translated():
        since: datetime | None = await pool.fetchval(_CONNECTED_AT, forwarder_id)
    return since


async def look(pool: Pool, command_id: UUID) -> bool:
    """Whether there is nothing to wait for any more: it has ended, or nobody is there to take it."""
    with translated():
        return bool(await pool.fetchval(_LOOK, command_id) in (None, True))


async def close(pool: Pool, command_id: UUID) -> tuple[State, bytes | None] | None:
    """Take a command away and return how it stood, with its answer; None when it is gone."""
    with translated():
        row = await pool.fetchrow(_CLOSE, command_id)
    return (row["state"], row["answer"]) if row else None


async def find_stream(pool: Pool, stream_id: UUID) -> Stream | None:
    """Return the stream, if there is one."""
    with translated():
        row = await pool.fetchrow(_STREAM, stream_id)
    return Stream(*row) if row else None
