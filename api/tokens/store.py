"""Device tokens: made, listed, revoked. The token itself never reaches the database."""

from typing import NamedTuple
from uuid import UUID

from api.tokens.types import Token
from shared.db.connections import Pool, Statements
from shared.db.errors import translated
from shared.transport.tokens import DeviceType

__all__ = ["Device", "add_token", "list_tokens", "live_tokens", "revoke_token"]

_ADD = """
INSERT INTO device_tokens (token_hash, device_type, device_id, events_per_second) VALUES ($1, $2, $3, $4)
ON CONFLICT (token_hash) DO NOTHING
RETURNING token_id
"""
_LIST = """
SELECT token_id, device_type, device_id, created_at, last_used_at, revoked_at
FROM device_tokens
ORDER BY created_at, token_id
"""
_LIVE = """
SELECT count(*) FROM device_tokens WHERE device_type = $1 AND device_id = $2 AND revoked_at IS NULL
"""
# Revoked by a function (migrations/routines/access.sql).
_REVOKE = (
    "SELECT device_type, device_id, revoke_token(token_id) AS done FROM device_tokens WHERE token_id = $1"
)


class Device(NamedTuple):
    """Whom a token stands for."""

    device_type: DeviceType
    device_id: str


async def add_token(
    database: Statements,
    *,
    token_hash: bytes,
    device_type: DeviceType,
    device_id: str,
    events_per_second: int | None = None,
) -> UUID | None:
    """Make a token known and return its id; None when it exists, revoked or not."""
    with translated():
        token_id: UUID | None = await database.fetchval(
            _ADD, token_hash, device_type, device_id, events_per_second
        )
    return token_id


async def live_tokens(database: Statements, device_type: DeviceType, device_id: str) -> int:
    """Return how many tokens of a device are not revoked."""
    with translated():
        return int(await database.fetchval(_LIVE, device_type, device_id))


async def list_tokens(pool: Pool) -> list[Token]:
    """Return all tokens, in order of creation."""
    with translated():
        return [Token(**row) for row in await pool.fetch(_LIST)]


async def revoke_token(database: Statements, token_id: UUID) -> Device | None:
    """End a token and return whose it was; None when there is none, or none any more."""
    with translated():
        row = await database.fetchrow(_REVOKE, token_id)
    return Device(row["device_type"], row["device_id"]) if row is not None and row["done"] else None
