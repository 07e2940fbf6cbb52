"""What forwarders told of their batteries, as it holds now (migrations/routines/reported.sql)."""

import orjson

from api.ups.types import Ups, UpsStatus
from shared.db.connections import Connection, Pool
from shared.db.errors import translated

__all__ = ["batteries"]

_UPS = "SELECT forwarder_id, available, status, received_at FROM reported_ups ORDER BY forwarder_id"


async def batteries(connection: "Connection | Pool") -> dict[str, Ups]:
    """Return the batteries, by forwarder: one row for each that has one."""
    with translated():
        rows = await connection.fetch(_UPS)
    return {
        row["forwarder_id"]: Ups(
            available=row["available"], status=_loaded(row["status"]), received_at=row["received_at"]
        )
        for row in rows
    }


def _loaded(text: str | None) -> UpsStatus | None:
    loaded = None if text is None else orjson.loads(text)
    return loaded if isinstance(loaded, dict) else None
