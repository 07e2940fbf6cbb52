"""Readers behind forwarders."""

from api.http.context import Api
from api.readers import store
from api.readers.types import ReaderStates

__all__ = ["list_reader_states"]


async def list_reader_states(api: Api) -> ReaderStates:
    """List the readers of which forwarders have told, and how they stand."""
    return ReaderStates(reader_states=await store.list_states(api.pool))
