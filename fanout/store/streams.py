"""Which streams the names stand for that devices use."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated
from shared.protocol.v1 import StreamRef

__all__ = ["RESOLVE", "Resolved", "resolve_streams"]

RESOLVE = """
SELECT named.forwarder_id, named.reader_ip, stream_id, last_position
FROM unnest($1::text[], $2::text[]) AS named(forwarder_id, reader_ip)
CROSS JOIN LATERAL (
    SELECT stream_id, last_position FROM streams
    WHERE streams.forwarder_id = named.forwarder_id
      AND streams.reader_ip >= named.reader_ip AND streams.reader_ip <= named.reader_ip
    ORDER BY streams.reader_ip DESC LIMIT 1
) AS stream
"""


class Resolved(NamedTuple):
    """A stream that exists: its id and newest position."""

    stream_id: UUID
    last_position: int


async def resolve_streams(pool: Pool, refs: Sequence[StreamRef]) -> dict[StreamRef, Resolved]:
    """Return those of the named streams that exist."""
    with translated():
        rows = await pool.fetch(RESOLVE, [ref.forwarder_id for ref in refs], [ref.reader_ip for ref in refs])
    return {
        StreamRef(row["forwarder_id"], row["reader_ip"]): Resolved(row["stream_id"], row["last_position"])
        for row in rows
    }
