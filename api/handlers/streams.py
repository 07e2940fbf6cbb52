"""Streams: their names, numbers and epochs."""

from msgspec.structs import replace

from api.errors import ApiError, no_stream
from api.messages.overview import Card
from api.messages.streams import (
    Epoch,
    EpochName,
    EpochPath,
    EpochQuery,
    Stream,
    StreamMetrics,
    StreamPatch,
    StreamPath,
    Streams,
)
from api.room import Api
from api.store import streams as store
from api.store.events import stream_name
from shared.channels import STREAMS

__all__ = [
    "delete_stream",
    "list_epochs",
    "list_streams",
    "name_epoch",
    "patch_stream",
    "stream_card",
    "stream_metrics",
]


async def list_streams(api: Api) -> Streams:
    """List the streams, in order of creation."""
    return Streams(streams=await store.list_streams(api.pool))


async def patch_stream(api: Api, *, path: StreamPath, body: StreamPatch) -> Stream:
    """Give a stream an alias."""
    stream = await store.set_alias(api.pool, path.stream_id, _named(body.display_alias))
    if stream is None:
        raise no_stream()
    api.process.bell.ring(STREAMS)
    api.note("stream_renamed", stream_id=path.stream_id, display_alias=stream.display_alias)
    return stream


async def delete_stream(api: Api, *, path: StreamPath) -> None:
    """Delete a stream of which nothing was ever read, while its forwarder is not connected."""
    outcome = await store.delete(api.pool, path.stream_id)
    if outcome == "absent":
        raise no_stream()
    if outcome == "used":
        raise ApiError(
            "CONFLICT", "the stream has reads: what was read is deleted by the database's administrator only"
        )
    if outcome == "connected":
        raise ApiError("CONFLICT", "its forwarder is connected, and would make it anew; disconnect it first")
    api.process.bell.ring(STREAMS)
    api.note("stream_deleted", stream_id=path.stream_id)


async def stream_card(api: Api, *, path: StreamPath) -> Card:
    """Show a stream as on the first page, also where that has no room for it."""
    card = await api.live.card(path.stream_id)
    if card is None:
        raise no_stream()
    return card


async def stream_metrics(api: Api, *, path: StreamPath) -> StreamMetrics:
    """Show the numbers of a stream."""
    metrics = await store.metrics(api.pool, path.stream_id)
    if metrics is None:
        raise no_stream()
    return metrics


async def list_epochs(api: Api, *, path: StreamPath, query: EpochQuery) -> list[Epoch]:
    """List the epochs of a stream, ascending: the newest 1,000, or those below an epoch."""
    below = {} if query.below is None else {"below": query.below}
    epochs = await store.epochs(api.pool, path.stream_id, **below)
    if not epochs and await stream_name(api.pool, path.stream_id) is None:
        raise no_stream()
    return epochs


async def name_epoch(api: Api, *, path: EpochPath, body: EpochName) -> Epoch:
    """Give an epoch a name."""
    known = await store.epoch(api.pool, path.stream_id, path.epoch)
    if known is None:
        exists = await stream_name(api.pool, path.stream_id) is not None
        raise ApiError("NOT_FOUND", "the stream has no such epoch") if exists else no_stream()
    name = _named(body.name)
    if name is None:
        await store.clear_epoch_name(api.pool, path.stream_id, path.epoch)
    else:
        await store.name_epoch(api.pool, path.stream_id, path.epoch, name)
    api.note("epoch_named", stream_id=path.stream_id, stream_epoch=path.epoch, name=name)
    return replace(known, name=name)


def _named(text: str | None) -> str | None:
    """A blank name is none."""
    return text if text is not None and text.strip() else None
