"""Streams: their names, numbers and epochs, and whether they are closed."""

from msgspec import UNSET
from msgspec.structs import asdict

from api.commands.types import ForwarderPath
from api.http.asking import asker
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.streams import closed, epoch_names, store
from api.streams.names import stream_name
from api.streams.types import (
    Epoch,
    EpochName,
    EpochPath,
    EpochQuery,
    ForwarderStreamsPatch,
    NamedEpoch,
    SequenceMap,
    SequenceQuery,
    Stream,
    StreamMetrics,
    StreamPatch,
    StreamPath,
    Streams,
    StreamsChanged,
)
from shared.db.channels import RACES, STATES, STREAMS
from shared.db.connections import Transaction
from shared.db.titles import stream_title

__all__ = [
    "delete_stream",
    "list_epochs",
    "list_streams",
    "name_epoch",
    "patch_forwarder_streams",
    "patch_stream",
    "sequence_map",
    "stream_metrics",
]


async def list_streams(api: Api) -> Streams:
    """List the streams, in order of creation."""
    return Streams(streams=await store.list_streams(api.pool))


async def patch_stream(api: Api, *, path: StreamPath, body: StreamPatch) -> Stream:
    """Give a stream an alias, close it, or open it again."""
    async with api.changing() as (connection, note):
        before = await store.find(connection, path.stream_id)
        if before is None:
            raise no_stream()
        named = await stream_title(connection, path.stream_id)
        # Whatever of it is refused takes back all of it.
        await _rename(connection, before, body)
        switched = await _switch(connection, before, body)
        stream = await store.find(connection, path.stream_id)
        title = await stream_title(connection, path.stream_id)
        if stream is None:
            raise no_stream()
        if body.display_alias is not UNSET and stream.display_alias != before.display_alias:
            alias = stream.display_alias
            await note("stream_renamed", stream=named, stream_id=stream.stream_id, display_alias=alias)
        if switched:
            event = "stream_closed" if stream.closed else "stream_opened"
            await note(event, stream=title, stream_id=stream.stream_id)
    api.process.notifier.notify(STREAMS)
    api.process.notifier.notify(STATES)
    return stream


async def patch_forwarder_streams(
    api: Api, *, path: ForwarderPath, body: ForwarderStreamsPatch
) -> StreamsChanged:
    """Close all streams of a forwarder, or open them again."""
    async with api.changing() as (connection, note):
        if body.closed:
            changed = await closed.close_all(connection, path.forwarder_id, by=asker().by)
        else:
            changed = await closed.reopen_all(connection, path.forwarder_id)
        if changed:
            event = "streams_closed" if body.closed else "streams_opened"
            await note(event, forwarder_id=path.forwarder_id, count=changed)
    if changed:
        api.process.notifier.notify(STATES)
    return StreamsChanged(changed=changed)


async def _rename(connection: Transaction, stream: Stream, body: StreamPatch) -> None:
    """Give a stream the alias that is wanted, if one is, and if it has the one that is expected, if one is."""
    if body.expected_display_alias is UNSET:
        if body.display_alias is not UNSET:
            await store.set_alias(connection, stream.stream_id, _named(body.display_alias))
        return
    expected = _named(body.expected_display_alias)
    alias = expected if body.display_alias is UNSET else _named(body.display_alias)
    if not await store.set_alias_of(connection, stream.stream_id, alias, expected=expected):
        now = await store.find(connection, stream.stream_id)
        title = await stream_title(connection, stream.stream_id)
        if now is None:
            raise no_stream()
        raise ApiError(
            "CONFLICT",
            f"somebody else has renamed it: it is {title} by now",
            details={"display_alias": now.display_alias},
        )


async def _switch(connection: Transaction, stream: Stream, body: StreamPatch) -> bool:
    """Close or open a stream, if that is wanted; return whether it was otherwise."""
    switched, now = False, stream.closed
    if body.closed is not UNSET:
        now = body.closed
        if body.closed:
            switched = await closed.close(connection, stream.stream_id, by=asker().by)
        else:
            switched = await closed.reopen(connection, stream.stream_id)
    if not switched and body.expected_closed not in (UNSET, now):
        word = "closed" if now else "open"
        raise ApiError("CONFLICT", f"somebody else was first: it is {word} already", details={"closed": now})
    return switched


async def delete_stream(api: Api, *, path: StreamPath) -> None:
    """Delete a stream of which nothing was ever read, while its forwarder is not connected."""
    async with api.changing() as (connection, note):
        title = await stream_title(connection, path.stream_id)
        outcome = await store.delete(connection, path.stream_id)
        if outcome == "absent" or title is None:
            raise no_stream()
        if outcome == "used":
            raise ApiError(
                "CONFLICT",
                "the stream has reads: what was read is deleted by the database's administrator only",
            )
        if outcome == "connected":
            raise ApiError(
                "CONFLICT", "its forwarder is connected, and would make it anew; disconnect it first"
            )
        await note("stream_deleted", stream=title, stream_id=path.stream_id)
    api.process.notifier.notify(STREAMS)


async def sequence_map(api: Api, *, path: StreamPath, query: SequenceQuery) -> SequenceMap:
    """Show what became of the numbers of an epoch, in bins: there, missing, or with another line aside."""
    found = await store.sequence(api.pool, path.stream_id, query.epoch)
    if found is None:
        raise no_stream()
    return found


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


async def name_epoch(api: Api, *, path: EpochPath, body: EpochName) -> NamedEpoch:
    """Give an epoch a name, whether it has begun or not; a forwarder, by its own token, one of its own streams."""
    await _must_be_its_own(api, path)
    name, checked = _named(body.name), body.expected_name is not UNSET
    expected = _named(body.expected_name) if body.expected_name is not UNSET else None
    async with api.changing() as (connection, note):
        stream = await stream_title(connection, path.stream_id)
        if stream is None:
            raise no_stream()
        outcome = await epoch_names.name_epoch(
            connection, path.stream_id, path.epoch, name, expected=expected, checked=checked
        )
        if outcome == "otherwise":
            raise ApiError("CONFLICT", "somebody else has named this epoch otherwise; look at it again")
        if outcome == "full":
            raise ApiError("CONFLICT", f"{epoch_names.MOST_NAMES:,} epochs of this stream have names already")
        about = {"stream_id": path.stream_id, "stream_epoch": path.epoch, "name": name}
        await note("epoch_named", stream=stream, **about)
    # Its races too: whoever follows them follows what their epochs are called.
    api.process.notifier.notify(RACES)
    known = await store.epoch(api.pool, path.stream_id, path.epoch) or _unused(path.epoch)
    fields = {**asdict(known), "name": name}
    return NamedEpoch(stream_id=path.stream_id, stream_epoch=path.epoch, **fields)


def _unused(epoch: int) -> Epoch:
    """Return an epoch of which there is nothing."""
    return Epoch(
        epoch=epoch,
        name=None,
        race_id=None,
        event_count=0,
        first_event_at=None,
        last_event_at=None,
        is_current=False,
        missing_count=0,
    )


async def _must_be_its_own(api: Api, path: EpochPath) -> None:
    """Refuse a device what is another's; operators are no device."""
    device = asker().device
    stream = None if device is None else await store.find(api.pool, path.stream_id)
    if device is not None and stream is not None and stream.forwarder_id != device.device_id:
        raise ApiError(
            "FORBIDDEN", "the stream is another forwarder's: a device names epochs of its own streams"
        )


def _named(text: str | None) -> str | None:
    """A blank name is none; blanks around it are none of it."""
    return text.strip() or None if text is not None else None
