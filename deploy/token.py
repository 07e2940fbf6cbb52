"""`rt-server token create`: what POST /api/v1/admin/tokens does, for whoever has the database at hand."""

from typing import cast

from api.handlers.tokens import mint
from api.messages.tokens import TokenRequest
from shared.database import create_pool
from shared.migrate import migrate
from shared.tokens import DeviceType

__all__ = ["create_token"]


async def create_token(database_url: str, device_type: str, device_id: str) -> str:
    """Make a token for a device and return it; RtServerError when that cannot be."""
    await migrate(database_url)
    pool = await create_pool(database_url, name="rt-server token", size=1)
    try:
        kind = cast("DeviceType", device_type)
        minted = await mint(pool, TokenRequest(device_type=kind, device_id=device_id))
    finally:
        pool.terminate()
    return minted.token
