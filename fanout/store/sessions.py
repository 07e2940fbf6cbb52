"""The receivers' sessions: who is connected, and follows what."""

from collections.abc import Iterable
from uuid import UUID

import asyncpg

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = [
    "BEGIN",
    "END",
    "SUBSCRIBE",
    "begin_session",
    "end_session",
    "forget_other_sessions",
    "subscribe_session",
]

BEGIN = """
INSERT INTO receiver_sessions AS known (session_id, receiver_id, fanout_id, token_id, race_id)
VALUES ($1, $2, $3, $4, (SELECT race_id FROM races WHERE race_id = $5))
ON CONFLICT (session_id) DO UPDATE SET race_id = excluded.race_id
RETURNING race_id IS NOT NULL
"""
SUBSCRIBE = "UPDATE receiver_sessions SET stream_ids = $2 WHERE session_id = $1"
END = "DELETE FROM receiver_sessions WHERE session_id = $1"
# A session that began after its node looked at those it has is not among them: only what is older is forgotten. A node
# that died left its sessions behind; its row in processes is gone when it left in order, or after a day.
_FORGET = """
DELETE FROM receiver_sessions AS sessions
WHERE (fanout_id = $1 AND session_id <> ALL($2::uuid[]) AND connected_at < now() - interval '1 minute')
   OR NOT EXISTS (SELECT FROM processes WHERE process_id = sessions.fanout_id)
"""


async def begin_session(
    pool: Pool,
    *,
    session_id: UUID,
    receiver_id: str,
    fanout_id: UUID,
    token_id: UUID,
    race_id: UUID | None = None,
) -> bool:
    """Make a receiver's session known, and the race that it follows; whether there is such a race. Doing it again
    changes no more than the race.
    """
    with translated():
        try:
            found = await pool.fetchval(BEGIN, session_id, receiver_id, fanout_id, token_id, race_id)
        except asyncpg.ForeignKeyViolationError:  # it was being deleted: who does that has been waited for
            found = await pool.fetchval(BEGIN, session_id, receiver_id, fanout_id, token_id, None)
    return bool(found)


async def subscribe_session(pool: Pool, session_id: UUID, stream_ids: Iterable[UUID]) -> None:
    """Note which streams a session is subscribed to."""
    with translated():
        await pool.execute(SUBSCRIBE, session_id, list(stream_ids))


async def end_session(pool: Pool, session_id: UUID) -> None:
    """Forget a session."""
    with translated():
        await pool.execute(END, session_id)


async def forget_other_sessions(pool: Pool, fanout_id: UUID, session_ids: Iterable[UUID]) -> None:
    """Forget the sessions of this node that ended while the database was away, and those of nodes that are gone."""
    with translated():
        await pool.execute(_FORGET, fanout_id, list(session_ids))
