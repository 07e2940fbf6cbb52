"""`rt-server token create`: what POST /api/v1/admin/tokens does, for whoever has the database at hand."""

from typing import cast
from uuid import UUID

from api.tokens.routes import mint
from api.tokens.types import MintedToken, TokenRequest
from shared.db.channels import ACTIVITY
from shared.db.connections import Pool, create_pool
from shared.db.errors import translated
from shared.db.migrate import migrate
from shared.runtime.activity import append, entry
from shared.transport.tokens import DeviceType

__all__ = ["create_token"]


async def create_token(database_url: str, device_type: str, device_id: str) -> MintedToken:
    """Make a token for a device; RtServerError when that cannot be."""
    await migrate(database_url)
    pool = await create_pool(database_url, name="rt-server token", size=1)
    try:
        kind = cast("DeviceType", device_type)
        minted = await mint(pool, TokenRequest(device_type=kind, device_id=device_id))
        await _note(pool, minted)
    finally:
        pool.terminate()
    return minted


async def _note(pool: Pool, minted: MintedToken) -> None:
    """Tell operators, as an api process does. The command is no process of the cluster: its id is zero."""
    fields = {
        "token_id": minted.token_id,
        "device_type": minted.device_type,
        "device_id": minted.device_id,
        "asked_by": "command line",
    }
    await append(pool, UUID(int=0), [entry("token_minted", "info", fields)])
    with translated():
        await pool.execute("SELECT pg_notify($1, '')", ACTIVITY)
