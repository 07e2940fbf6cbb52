"""Forwarders, receivers and their cursors, processes."""

from api.devices import store
from api.devices.types import Cursors, Forwarders, Processes, ReceiverPath, Receivers, ReceiverStreamPath
from api.http.context import Api
from api.http.errors import ApiError
from shared.db.titles import stream_title

__all__ = [
    "delete_cursors",
    "delete_stream_cursors",
    "list_cursors",
    "list_forwarders",
    "list_processes",
    "list_receivers",
]


async def list_forwarders(api: Api) -> Forwarders:
    """List the forwarders."""
    return Forwarders(forwarders=await store.list_forwarders(api.pool))


async def list_receivers(api: Api) -> Receivers:
    """List the receivers, and how far each is behind."""
    return Receivers(receivers=await store.list_receivers(api.pool))


async def list_cursors(api: Api, *, path: ReceiverPath) -> Cursors:
    """Show what a receiver has acked."""
    return Cursors(receiver_id=path.receiver_id, cursors=await store.list_cursors(api.pool, path.receiver_id))


async def delete_cursors(api: Api, *, path: ReceiverPath) -> None:
    """Forget what a receiver has acked: everything is sent to it again, at once where it is connected."""
    async with api.changing() as (connection, note):
        if not await store.delete_cursors(connection, path.receiver_id):
            raise ApiError("NOT_FOUND", "no cursor of this receiver is stored")
        await note("cursors_deleted", receiver_id=path.receiver_id)


async def delete_stream_cursors(api: Api, *, path: ReceiverStreamPath) -> None:
    """Forget what a receiver has acked of a stream: it is sent again, at once where the receiver is connected."""
    async with api.changing() as (connection, note):
        if not await store.delete_cursors(connection, path.receiver_id, path.stream_id):
            raise ApiError("NOT_FOUND", "no cursor of this receiver and stream is stored")
        stream = await stream_title(connection, path.stream_id)
        await note("cursors_deleted", receiver_id=path.receiver_id, stream=stream, stream_id=path.stream_id)


async def list_processes(api: Api) -> Processes:
    """List the processes of the cluster."""
    return Processes(processes=await store.list_processes(api.pool))
