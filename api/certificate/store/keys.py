"""The keys that certificates are signed with, and were."""

from datetime import datetime
from typing import NamedTuple

from shared.db.connections import Statements
from shared.db.errors import DatabaseFault, translated

__all__ = ["Key", "keys", "signing_key"]

_KEYS = "SELECT secret, public_key, made_at, retired_at FROM certificate_keys ORDER BY key_id DESC"
_SIGNING = "SELECT secret FROM certificate_keys WHERE retired_at IS NULL"


class Key(NamedTuple):
    """A key: the one that signs has a secret, those of before have their public half."""

    secret: bytes | None
    public_key: bytes | None
    made_at: datetime
    retired_at: datetime | None


async def keys(database: Statements) -> list[Key]:
    """Return all keys, the newest first."""
    with translated():
        return [Key(*row) for row in await database.fetch(_KEYS)]


async def signing_key(database: Statements) -> bytes:
    """Return the secret of the key that signs; asked for with each certificate, so that none outlives its key."""
    with translated():
        secret: bytes | None = await database.fetchval(_SIGNING)
    if secret is None:
        raise DatabaseFault("no key signs: the row of certificate_keys that was not retired is gone")
    return secret
