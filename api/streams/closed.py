"""Closed streams: nobody expects a read of them. Nothing else changes: what comes is stored and delivered as ever.

A row is made or deleted by whoever comes first, and that decides who has done it: of two at once the second changes
nothing and is told so.
"""

from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Connection, Statements
from shared.db.errors import translated

__all__ = ["LateRead", "close", "close_all", "note_reads", "reopen", "reopen_all", "tidy"]

_CLOSE = """
INSERT INTO closed_streams (stream_id, position, closed_by)
SELECT stream_id, last_position, $2 FROM streams WHERE stream_id = $1
ON CONFLICT (stream_id) DO NOTHING
RETURNING stream_id
"""
_REOPEN = "DELETE FROM closed_streams WHERE stream_id = $1 RETURNING stream_id"

# All of a forwarder. In one order: two at once would wait for each other else.
_CLOSE_ALL = """
WITH closed AS (
    INSERT INTO closed_streams (stream_id, position, closed_by)
    SELECT stream_id, last_position, $2 FROM streams WHERE forwarder_id = $1 ORDER BY stream_id
    ON CONFLICT (stream_id) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM closed
"""
_REOPEN_ALL = """
WITH wanted AS MATERIALIZED (
    SELECT stream_id FROM closed_streams JOIN streams USING (stream_id) WHERE forwarder_id = $1
    ORDER BY stream_id
    FOR UPDATE OF closed_streams
),
reopened AS (
    DELETE FROM closed_streams AS closed USING wanted WHERE closed.stream_id = wanted.stream_id RETURNING 1
)
SELECT count(*) FROM reopened
"""

# Said once for each time that it is closed; how many there are is counted as the page is made.
_NOTE_READS = """
UPDATE closed_streams AS closed SET read_noted = true
FROM streams
WHERE streams.stream_id = closed.stream_id AND NOT read_noted AND last_position > position
RETURNING closed.stream_id,
          stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS stream, closed_by
"""
_TIDY = """
DELETE FROM closed_streams AS closed
WHERE NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = closed.stream_id)
"""


class LateRead(NamedTuple):
    """A closed stream of which something came all the same, and who had closed it."""

    stream_id: UUID
    stream: str
    closed_by: str


async def close(database: Statements, stream_id: UUID, *, by: str) -> bool:
    """Close a stream; false when it is closed already, or is not there."""
    with translated():
        return await database.fetchval(_CLOSE, stream_id, by) is not None


async def reopen(database: Statements, stream_id: UUID) -> bool:
    """Open a stream again; false when it is open."""
    with translated():
        return await database.fetchval(_REOPEN, stream_id) is not None


async def close_all(database: Statements, forwarder_id: str, *, by: str) -> int:
    """Close all streams of a forwarder, and return how many were open."""
    with translated():
        return int(await database.fetchval(_CLOSE_ALL, forwarder_id, by))


async def reopen_all(database: Statements, forwarder_id: str) -> int:
    """Open all streams of a forwarder again, and return how many were closed."""
    with translated():
        return int(await database.fetchval(_REOPEN_ALL, forwarder_id))


async def note_reads(connection: Connection) -> list[LateRead]:
    """Return the closed streams of which the first read has come since they were closed, each once."""
    with translated():
        return [LateRead(**row) for row in await connection.fetch(_NOTE_READS)]


async def tidy(connection: Connection) -> None:
    """Forget streams that are not there any more."""
    with translated():
        await connection.execute(_TIDY)
