"""The zones of forwarders that have one of their own."""

from typing import NamedTuple

from shared.db.connections import Statements, Transaction
from shared.db.errors import translated

__all__ = ["Zone", "forwarder_zone", "give_zone", "hold", "take_zone", "try_zone"]

_TRY = "SELECT now() AT TIME ZONE $1"
_HOLD = "SELECT pg_advisory_xact_lock($1, hashtext($2))"
_HELD = int.from_bytes(b"rtfz")

_ZONE = """
SELECT time_zone,
       EXISTS (SELECT FROM streams WHERE forwarder_id = $1)
           OR EXISTS (SELECT FROM forwarder_sessions WHERE forwarder_id = $1) AS is_known
FROM (VALUES (true)) AS one LEFT JOIN forwarder_zones ON forwarder_id = $1
"""
_GIVE = """
INSERT INTO forwarder_zones (forwarder_id, time_zone) VALUES ($1, $2)
ON CONFLICT (forwarder_id) DO UPDATE SET time_zone = excluded.time_zone, set_at = now()
"""
_TAKE = "DELETE FROM forwarder_zones WHERE forwarder_id = $1"


class Zone(NamedTuple):
    """The zone of a forwarder's own, None where it has none; whether anybody has ever heard of it."""

    time_zone: str | None
    is_known: bool


async def try_zone(database: Statements, time_zone: str) -> None:
    """Return if the database knows a zone; DatabaseRefused if not."""
    with translated():
        await database.fetchval(_TRY, time_zone)


async def hold(connection: Transaction, forwarder_id: str) -> None:
    """Let nobody else give that forwarder a zone until the transaction ends: there may be no row to be locked."""
    with translated():
        await connection.execute(_HOLD, _HELD, forwarder_id)


async def forwarder_zone(database: Statements, forwarder_id: str) -> Zone:
    """Return the zone of a forwarder's own."""
    with translated():
        row = await database.fetchrow(_ZONE, forwarder_id)
    return Zone(*row) if row else Zone(None, is_known=False)


async def give_zone(connection: Transaction, forwarder_id: str, time_zone: str) -> None:
    """Have the clocks of a forwarder's readers compared with that zone's."""
    with translated():
        await connection.execute(_GIVE, forwarder_id, time_zone)


async def take_zone(connection: Transaction, forwarder_id: str) -> None:
    """Let a forwarder have no zone of its own."""
    with translated():
        await connection.execute(_TAKE, forwarder_id)
