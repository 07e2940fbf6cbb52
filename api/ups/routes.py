"""Batteries of forwarders."""

from api.http.context import Api
from api.ups import store
from api.ups.types import ForwarderUps

__all__ = ["list_ups"]


async def list_ups(api: Api) -> ForwarderUps:
    """List the batteries of forwarders, by forwarder."""
    return ForwarderUps(forwarder_ups=await store.batteries(api.pool))
