"""Events: pages of reads and conflicts."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from api.commands.types import ForwarderPath
from api.events import conflicts, store, views
from api.events.filter import Key
from api.events.naming import named
from api.events.types import (
    Acknowledged,
    ConflictPage,
    ConflictPath,
    ConflictQuery,
    EventFilter,
    LatestQuery,
    LatestReads,
    ReadPage,
    ReadQuery,
    ViewQuery,
)
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.http.pagination import decode_cursor, encode_cursor
from api.http.types import LARGEST
from api.streams.names import stream_name
from api.streams.types import StreamPath
from shared.db.titles import stream_title

__all__ = [
    "acknowledge_conflict",
    "acknowledge_conflicts",
    "latest_reads",
    "list_conflicts",
    "list_forwarder_reads",
    "list_reads",
]


# Of one question: a part of a name may be that of many.
MOST_TAGS = 200
# A point of a race has twenty at the most.
MOST_STREAMS = 50


async def list_reads(api: Api, *, path: StreamPath, query: ReadQuery) -> ReadPage:
    """Show a page of reads, newest first by default."""
    if query.is_view:
        if query.cursor is not None:
            raise ApiError("BAD_REQUEST", "query: a view has no `cursor`; give an `offset`")
        epochs = await views.current_epochs(api.pool, stream_id=path.stream_id, epoch=query.epoch)
        if not epochs:
            raise no_stream()
        return await _view(api, epochs, query)
    after = None if query.cursor is None else Key(*decode_cursor(query.cursor))
    page = await store.reads(
        api.pool, path.stream_id, query, order=query.order, after=after, limit=query.limit
    )
    epochs = await views.counts(api.pool, path.stream_id, query.epoch)
    if not page.rows and not epochs and await stream_name(api.pool, path.stream_id) is None:
        raise no_stream()
    last = page.rows[-1] if page.more else None
    return ReadPage(
        reads=await named(api.pool, page.rows, corrected=query.corrected == "true"),
        next_cursor=None if last is None else encode_cursor(last.stream_epoch, last.seq),
        total=None if _is_filtered(query) else sum(each.events for each in epochs),
        limit=query.limit,
        offset=0,
    )


async def list_forwarder_reads(api: Api, *, path: ForwarderPath, query: ViewQuery) -> ReadPage:
    """Show a page of the reads of all streams of a forwarder; none of one that is not known."""
    epochs = await views.current_epochs(api.pool, forwarder_id=path.forwarder_id, epoch=query.epoch)
    return await _view(api, epochs, query)


async def _view(api: Api, epochs: Sequence[views.Epoch], query: ViewQuery) -> ReadPage:
    dedup, offset = query.dedup or "none", query.offset or 0
    if dedup == "none" and not _is_filtered(query):
        # The writer has counted them.
        if query.order == "desc" and query.epoch is None:
            found = await views.newest(api.pool, epochs, offset=offset, limit=query.limit)
        else:
            found = await views.passed(api.pool, epochs, order=query.order, offset=offset, limit=query.limit)
    else:
        found = await views.view(
            api.pool,
            epochs,
            query,
            dedup=dedup,
            window=timedelta(seconds=query.window_secs),
            order=query.order,
            offset=offset,
            limit=query.limit,
        )
    reads = await store.by_keys(api.pool, found.keys)
    return ReadPage(
        reads=await named(api.pool, reads, corrected=query.corrected == "true"),
        next_cursor=None,
        total=found.total,
        # Very long lines may have cut the page short: where the next one begins.
        limit=query.limit if len(reads) == len(found.keys) else len(reads),
        offset=offset,
    )


def _is_filtered(query: EventFilter) -> bool:
    return any(each is not None for each in (query.tag_id, query.since, query.until))


async def list_conflicts(api: Api, *, query: ConflictQuery) -> ConflictPage:
    """Show a page of lines that were set aside, newest first."""
    below = LARGEST if query.cursor is None else decode_cursor(query.cursor)[0]
    page = await store.conflicts(api.pool, query.stream_id, below=below, limit=query.limit)
    return ConflictPage(
        conflicts=page.rows, next_cursor=encode_cursor(page.rows[-1].conflict_id) if page.more else None
    )


async def latest_reads(api: Api, *, query: LatestQuery) -> LatestReads:
    """Show the newest reads over all streams, the newest first; of one stream, only what was stored since an answer."""
    if query.after is not None and query.stream_id is None:
        raise ApiError("BAD_REQUEST", "query: `after` is a place in one stream; name its `stream_id`, too")
    behind = 0 if query.after is None else decode_cursor(query.after)[0]
    tags = None if query.tag_id is None else _tags(query.tag_id)
    page, newest = await store.latest(api.pool, _streams(query), tags, limit=query.limit, behind=behind)
    return LatestReads(
        reads=await named(api.pool, page.rows, corrected=query.corrected == "true"),
        cut=page.more and len(page.rows) < query.limit,
        cursor=None if query.stream_id is None else encode_cursor(newest),
    )


def _streams(query: LatestQuery) -> list[UUID] | None:
    """Return the streams that are asked for; None: all. Of several, such as the mats of a point, each is looked at."""
    if query.stream_ids is None:
        return None if query.stream_id is None else [query.stream_id]
    if query.stream_id is not None:
        raise ApiError("BAD_REQUEST", "query: give `stream_id` or `stream_ids`, not both")
    try:
        found = list(dict.fromkeys(UUID(each.strip()) for each in query.stream_ids.split(",")))
    except ValueError:
        raise ApiError(
            "BAD_REQUEST", "query: `stream_ids` are ids of streams with commas between them"
        ) from None
    if len(found) > MOST_STREAMS:
        raise ApiError(
            "BAD_REQUEST",
            f"query: `stream_ids` names {len(found)} streams; ask for {MOST_STREAMS} at the most",
        )
    return found


def _tags(text: str) -> list[str]:
    """Return the chips that are asked for, each once. Nothing is left out unsaid: who asks for too many is refused."""
    tags = list(dict.fromkeys(each.strip().lower() for each in text.split(",")))
    if len(tags) > MOST_TAGS:
        raise ApiError(
            "BAD_REQUEST",
            f"query: `tag_id` names {len(tags)} chips; ask for {MOST_TAGS} at the most, or in several requests",
        )
    return tags


async def acknowledge_conflict(api: Api, *, path: ConflictPath) -> None:
    """Say that a conflict has been seen: its stream is not red for it any more."""
    async with api.changing() as (connection, note):
        seen = await conflicts.acknowledge(connection, path.conflict_id)
        if seen is None:
            raise ApiError("NOT_FOUND", "there is no conflict of this id")
        if seen.new:
            await note(
                "conflict_acknowledged",
                stream=seen.stream,
                stream_epoch=seen.stream_epoch,
                seq=seen.seq,
                conflict_id=path.conflict_id,
            )


async def acknowledge_conflicts(api: Api, *, path: StreamPath) -> Acknowledged:
    """Say that all conflicts of a stream have been seen."""
    async with api.changing() as (connection, note):
        stream = await stream_title(connection, path.stream_id)
        if stream is None:
            raise no_stream()
        count = await conflicts.acknowledge_all(connection, path.stream_id)
        if count:
            await note("conflicts_acknowledged", stream=stream, stream_id=path.stream_id, count=count)
    return Acknowledged(acknowledged=count)
