"""Segments of a race in a stream as people see them: those that somebody has made, and what else is the race's."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from api.segments.pieces import Key, Span
from api.segments.store import reads, rows
from api.segments.types import Range, ReadThere, Rule, Segment, SegmentedStream, ShownBound
from shared.db.connections import Statements

__all__ = ["Outline", "outlined", "segmented", "shown"]


class _Shown(NamedTuple):
    span: Span
    rule: Rule


class Outline(NamedTuple):
    """What of a stream is of a race, before anybody has looked at a read of it."""

    stream: rows.Stream
    race_id: UUID
    fingerprint: str
    made: list[Span]
    ranges: list[dict[str, Any]]


async def segmented(database: Statements, stream: rows.Stream, race_id: UUID) -> SegmentedStream:
    """Return what of a stream is of a race."""
    return await shown(database, await outlined(database, stream, race_id))


async def outlined(database: Statements, stream: rows.Stream, race_id: UUID) -> Outline:
    """Return the same without its reads; that takes milliseconds, however many there are."""
    return Outline(
        stream,
        race_id,
        fingerprint=await rows.fingerprint(database, stream.stream_id),
        made=await rows.spans(database, stream.stream_id, race_id),
        ranges=await reads.ranges(database, stream.stream_id),
    )


async def shown(database: Statements, outline: Outline) -> SegmentedStream:
    """Return an outline with the reads that lie in it; that takes as long as it takes to count them."""
    stream = outline.stream
    found = _segments(outline.made, outline.ranges, outline.race_id)
    keys = {key for each in found for key in each.span if key is not None}
    there = await reads.reads_at(database, stream.stream_id, sorted(keys))
    ranges = await reads.measured(database, stream.stream_id, outline.ranges)
    return SegmentedStream(
        **stream._asdict(),
        fingerprint=outline.fingerprint,
        segments=[
            Segment(
                begins=_bound(each.span.begins, there),
                ends=None if each.span.ends is None else _bound(each.span.ends, there),
                rule=each.rule,
            )
            for each in found
        ],
        ranges=[Range(**each) for each in ranges],
    )


def _segments(made: Sequence[Span], ranges: Sequence[dict[str, Any]], race_id: UUID) -> list[_Shown]:
    """Return the segments of a race in the order of reads; an epoch that is whole ends where the next one begins."""
    found = [_Shown(span, "segment") for span in made]
    for each in ranges:
        if each["race_id"] == race_id and each["rule"] != "segment":
            ends = (each["epoch"] + 1, 1) if each["to_seq"] is None else (each["epoch"], each["to_seq"])
            found.append(_Shown(Span((each["epoch"], each["from_seq"]), ends), each["rule"]))
    return sorted(found, key=lambda each: each.span.begins)


def _bound(key: Key, there: dict[Key, dict[str, Any] | None]) -> ShownBound:
    read = there[key]
    return ShownBound(epoch=key[0], seq=key[1], read=None if read is None else ReadThere(**read))
