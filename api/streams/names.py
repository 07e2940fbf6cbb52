"""How people know a stream: its forwarder and reader, for whoever shows or exports what came from it."""

from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Connection, Statements
from shared.db.errors import translated

__all__ = ["StreamName", "stream_name", "stream_names"]

_STREAM_NAME = "SELECT forwarder_id, reader_ip FROM streams WHERE stream_id = $1"

_STREAM_NAMES = "SELECT stream_id, forwarder_id, reader_ip FROM streams ORDER BY created_at, stream_id"


class StreamName(NamedTuple):
    """How people know a stream."""

    forwarder_id: str
    reader_ip: str


async def stream_name(connection: Statements, stream_id: UUID) -> StreamName | None:
    """Return how a stream is known; None when there is no such stream."""
    with translated():
        row = await connection.fetchrow(_STREAM_NAME, stream_id)
    return None if row is None else StreamName(*row)


async def stream_names(connection: Connection) -> dict[UUID, StreamName]:
    """Return how the streams are known, in order of creation."""
    with translated():
        rows = await connection.fetch(_STREAM_NAMES)
    return {row["stream_id"]: StreamName(row["forwarder_id"], row["reader_ip"]) for row in rows}
