"""`rt-server token create`: what POST /api/v1/admin/tokens does, for whoever has the database at hand."""

from typing import cast

from api.tokens.routes import mint
from api.tokens.types import MintedToken, TokenRequest
from deploy.cli.entries import note, tell
from deploy.cli.migrate import migrate_and_note
from shared.db.connections import create_pool
from shared.db.errors import translated
from shared.transport.tokens import DeviceType

__all__ = ["create_token"]


async def create_token(database_url: str, device_type: str, device_id: str) -> MintedToken:
    """Make a token for a device; RtServerError when that cannot be."""
    await migrate_and_note(database_url)
    pool = await create_pool(database_url, name="rt-server token", size=1)
    try:
        kind = cast("DeviceType", device_type)
        # Together, as an api process does it: no token is without its entry.
        with translated():
            async with pool.acquire() as connection, connection.transaction():
                minted = await mint(connection, TokenRequest(device_type=kind, device_id=device_id))
                fields = {
                    "token_id": minted.token_id,
                    "device_type": minted.device_type,
                    "device_id": minted.device_id,
                }
                await note(connection, "token_minted", fields)
        await tell(pool)
    finally:
        pool.terminate()
    return minted
