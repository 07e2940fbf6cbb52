"""What forwarders told of their batteries, as it holds now (migrations/routines/reported.sql)."""

import msgspec

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
            available=row["available"], status=_status(row["status"]), received_at=row["received_at"]
        )
        for row in rows
    }


def _status(text: str | None) -> UpsStatus | None:
    """Return a battery's status. Gateways have checked it; what one of a later release has put there may be another."""
    try:
        return None if text is None else msgspec.json.decode(text, type=UpsStatus)
    except msgspec.ValidationError:
        return None
