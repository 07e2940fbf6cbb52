"""The segments of races: which reads of which streams are theirs, moved with a look first, and taken back."""

from datetime import datetime, timedelta
from uuid import UUID

from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.races.types import RacePath, RaceStreamPath
from api.segments import moving
from api.segments.shown import segmented
from api.segments.store import reads, rows
from api.segments.types import (
    Axis,
    AxisQuery,
    Bin,
    Change,
    Changed,
    ChangePath,
    NewSegments,
    Segments,
    SegmentsQuery,
    Undo,
)

__all__ = ["set_segments", "show_axis", "show_segments", "undo_segments"]

LONGEST_AXIS = timedelta(days=31)
LONGEST_BIN_S = 10_800


async def show_segments(api: Api, *, path: RacePath, query: SegmentsQuery) -> Segments:
    """Show which reads of which streams are of a race, whose the others are, and what was done to that."""
    await _there_is(api, path.race_id)
    streams, next_cursor = await rows.streams_of(api.pool, path.race_id, query.cursor)
    return Segments(
        race_id=path.race_id,
        streams=[await segmented(api.pool, each, path.race_id) for each in streams],
        next_cursor=next_cursor,
        changes=[Change(**each) for each in await rows.changes(api.pool, path.race_id)],
    )


async def _there_is(api: Api, race_id: UUID) -> None:
    if not await rows.names(api.pool, [race_id]):
        raise ApiError("NOT_FOUND", "there is no race of this id")


async def show_axis(api: Api, *, path: RaceStreamPath, query: AxisQuery) -> Axis:
    """Show when the reads of a stream came, to see where a boundary belongs."""
    since, until = query.since, query.until
    _bounded(since, until)
    await _there_is(api, path.race_id)
    if await rows.stream(api.pool, path.stream_id) is None:
        raise no_stream()
    found = await reads.axis(api.pool, path.stream_id, path.race_id, since, until)
    shown = found[0]
    # What was left out is known by now.
    _bounded(since or shown["since"], until or shown["until"])
    return Axis(
        stream_id=path.stream_id,
        since=shown["since"],
        until=shown["until"],
        bin_s=shown["bin_s"] or LONGEST_BIN_S,
        bins=[Bin(**{name: each[name] for name in Bin.__struct_fields__}) for each in found if each["reads"]],
    )


def _bounded(since: datetime | None, until: datetime | None) -> None:
    if since and until and not timedelta(0) < until - since <= LONGEST_AXIS:
        raise ApiError(
            "BAD_REQUEST",
            f"query: `until` must lie behind `since`, {LONGEST_AXIS.days} days at the most; this would be from"
            f" {since.isoformat()} until {until.isoformat()}",
        )


async def set_segments(api: Api, *, path: RaceStreamPath, body: NewSegments) -> Changed:
    """Let the segments of a race in a stream be these and no others: begin one, move or close it, or, without any, give
    its epochs back their whole; of a preview, only say what would become of it.
    """
    return await moving.move(api, path.race_id, path.stream_id, body)


async def undo_segments(api: Api, *, path: ChangePath, body: Undo) -> Changed:
    """Take a change back, unless the segments are not as it has left them any more; this, too, can be taken back."""
    return await moving.undo(api, path.race_id, path.change_id, preview=body.preview)
