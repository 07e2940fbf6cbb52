"""Device tokens: made, listed, revoked. The token itself never reaches the database."""

from uuid import UUID

from api.messages.tokens import Token
from shared.database import Pool
from shared.errors import translated
from shared.tokens import DeviceType

__all__ = ["add_token", "list_tokens", "revoke_token"]

_ADD = """
INSERT INTO device_tokens (token_hash, device_type, device_id) VALUES ($1, $2, $3)
ON CONFLICT (token_hash) DO NOTHING
RETURNING token_id
"""
_LIST = """
SELECT token_id, device_type, device_id, created_at, last_used_at, revoked_at
FROM device_tokens
ORDER BY created_at, token_id
"""
_REVOKE = "SELECT revoke_token($1)"


async def add_token(pool: Pool, *, token_hash: bytes, device_type: DeviceType, device_id: str) -> UUID | None:
    """Make a token known and return its id; None when it exists, revoked or not."""
    with translated():
        token_id: UUID | None = await pool.fetchval(_ADD, token_hash, device_type, device_id)
    return token_id


async def list_tokens(pool: Pool) -> list[Token]:
    """Return all tokens, in order of creation."""
    with translated():
        return [Token(**row) for row in await pool.fetch(_LIST)]


async def revoke_token(pool: Pool, token_id: UUID) -> bool:
    """End a token; false when there is none, or none any more."""
    with translated():
        return bool(await pool.fetchval(_REVOKE, token_id))
