"""What forwarders report of the readers behind streams, and of their batteries (routines/reported.sql)."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["REPORTED", "Reader", "Reported", "Ups", "read_reported"]

# A stream without a row is one of which nobody tells: it is connected as long as its forwarder is.
REPORTED = """
SELECT streams.stream_id, streams.forwarder_id, streams.reader_ip,
       coalesce(reader.connected, live.forwarder_id IS NOT NULL) AS connected,
       reader.state, reader.reader_info::text, reader.download::text,
       ups.available, ups.status::text
FROM unnest($1::uuid[]) AS wanted(stream_id)
JOIN streams USING (stream_id)
LEFT JOIN live_forwarder_sessions AS live USING (forwarder_id)
LEFT JOIN reported_readers AS reader USING (forwarder_id, reader_ip)
LEFT JOIN reported_ups AS ups USING (forwarder_id)
"""


class Reader(NamedTuple):
    """What was told of a reader, its info and download as JSON."""

    state: str
    info: str | None
    download: str | None


class Ups(NamedTuple):
    """What was told of a battery, its status as JSON."""

    available: bool
    status: str | None


class Reported(NamedTuple):
    """How a stream's reader is; reader, ups: what its forwarder told, if it did."""

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    connected: bool
    reader: Reader | None
    ups: Ups | None


async def read_reported(pool: Pool, stream_ids: Collection[UUID]) -> dict[UUID, Reported]:
    """Return what is reported of the streams that still exist."""
    with translated():
        rows = await pool.fetch(REPORTED, list(stream_ids))
    return {
        row["stream_id"]: Reported(
            row["stream_id"],
            row["forwarder_id"],
            row["reader_ip"],
            row["connected"],
            Reader(row["state"], row["reader_info"], row["download"]) if row["state"] is not None else None,
            Ups(row["available"], row["status"]) if row["available"] is not None else None,
        )
        for row in rows
    }
