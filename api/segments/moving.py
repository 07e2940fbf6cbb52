"""Moves boundaries: what would become of it first, by the very same statements, which are then taken back; and what has
become of it when it counts. Who changes something says what he has seen, and is refused where it is not so any more.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple
from uuid import UUID

from msgspec import UNSET

from api.http.asking import asker
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.segments.pieces import Key, Moved, Span, concerned, moved, overlapping
from api.segments.shown import segmented
from api.segments.store import reads, rows
from api.segments.types import Bound, Changed, MovedReads, NewSegments, ReadThere
from shared.db.channels import RACES
from shared.db.connections import Transaction
from shared.db.errors import DatabaseRefused, translated
from shared.runtime.activity import Note

__all__ = ["move", "undo"]


class _Wanted(NamedTuple):
    """Whose segments are to be others, and in which stream. undoes: the change that is taken back."""

    race_id: UUID
    stream_id: UUID
    preview: bool
    undoes: int | None = None


async def move(api: Api, race_id: UUID, stream_id: UUID, body: NewSegments) -> Changed:
    """Let the segments of a race in a stream be others."""
    if not body.preview:
        if body.expected_fingerprint is UNSET:
            raise ApiError("BAD_REQUEST", "body: `expected_fingerprint` is missing: ask with `preview` first")
        if any(each and each.at for segment in body.segments for each in (segment.begins, segment.ends)):
            raise ApiError(
                "BAD_REQUEST",
                "body: a time is shown before it counts: ask with `preview`, and change by the `epoch` and `seq` of"
                " the segments that it answers",
            )
    wanted = _Wanted(race_id, stream_id, body.preview)
    async with _changing(api, preview=body.preview) as (connection, note):
        held = await _held(connection, wanted)
        fingerprint = await rows.fingerprint(connection, stream_id)
        if body.expected_fingerprint not in (UNSET, fingerprint):
            raise _moved_meanwhile(fingerprint)
        after = await _spans(connection, stream_id, body)
        changed = await _change(connection, note, wanted, held, after)
    return _done(api, wanted, changed)


async def undo(api: Api, race_id: UUID, change_id: int, *, preview: bool) -> Changed:
    """Let the segments be as they were before a change, unless they are not as it has left them any more."""
    found = await rows.changes(api.pool, race_id, change_id)
    if not found:
        raise ApiError(
            "NOT_FOUND", f"no change of this race has this number; the newest {rows.CHANGES_KEPT} are kept"
        )
    wanted = _Wanted(race_id, found[0]["stream_id"], preview, undoes=change_id)
    async with _changing(api, preview=preview) as (connection, note):
        held = await _held(connection, wanted)
        # Again, behind the lock.
        found = await rows.changes(connection, race_id, change_id)
        if not found or not found[0]["undoable"]:
            raise _moved_meanwhile(await rows.fingerprint(connection, wanted.stream_id))
        after = [rows.span(*each) for each in found[0]["before"]]
        changed = await _change(connection, note, wanted, held, after)
    return _done(api, wanted, changed)


@asynccontextmanager
async def _changing(api: Api, *, preview: bool) -> AsyncIterator[tuple[Transaction, Note]]:
    """Yield a connection for a change; what is only looked at is taken back, and nobody hears of it."""
    if not preview:
        async with api.changing() as changing:
            yield changing
        return
    with translated():
        async with api.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection, _nobody
            finally:
                await transaction.rollback()


async def _nobody(_event: str, **_fields: object) -> None:
    """Nobody is told of what is taken back."""


async def _held(connection: Transaction, wanted: _Wanted) -> tuple[rows.Stream, str]:
    await rows.hold(connection, wanted.stream_id)
    races = await rows.names(connection, [wanted.race_id])
    if not races:
        raise ApiError("NOT_FOUND", "there is no race of this id")
    stream = await rows.stream(connection, wanted.stream_id)
    if stream is None:
        raise no_stream()
    return stream, races[wanted.race_id]


async def _spans(connection: Transaction, stream_id: UUID, body: NewSegments) -> list[Span]:
    """Return what is wanted as keys of reads, each of which the stream has or is to have next."""
    spans = [
        Span(
            await _key(connection, stream_id, each.begins, "begins"),
            None if each.ends is None else await _key(connection, stream_id, each.ends, "ends"),
        )
        for each in body.segments
    ]
    for span in spans:
        if span.begins >= span.end:
            raise ApiError(
                "BAD_REQUEST",
                f"body: a segment would begin with {_told(span.begins)} and end before {_told(span.end)}: it must"
                " begin first",
            )
    if twice := overlapping(spans):
        one, other = map(_span_told, twice)
        raise ApiError("BAD_REQUEST", f"body: {one} and {other} have reads in common; make them one")
    return sorted(spans)


async def _key(
    connection: Transaction, stream_id: UUID, bound: Bound, which: Literal["begins", "ends"]
) -> Key:
    if bound.at is not None:
        found = await reads.first_at(connection, stream_id, bound.at, bound.epoch)
        if found is None:
            where = "the stream" if bound.epoch is None else f"epoch {bound.epoch}"
            open_end = "; leave `ends` null for all that come" if which == "ends" else ""
            raise ApiError(
                "BAD_REQUEST",
                f"body: no read of {where} says {bound.at.isoformat()} or later by its reader's clock{open_end}",
            )
        return found
    key = (bound.epoch or 0, bound.seq or 0)
    # The end of an epoch is the beginning of the one behind it, which need not be there.
    known = await reads.known_epochs(connection, stream_id, [key[0], key[0] - 1])
    if key[1] == 1 and which == "ends" and key[0] - 1 in known:
        return key
    if key[0] not in known:
        raise ApiError(
            "BAD_REQUEST",
            f"body: the stream has no epoch {key[0]}; its current one is {max(known)}",
        )
    if key[1] > known[key[0]].last_seq + 1:
        last = known[key[0]].last_seq
        raise ApiError(
            "BAD_REQUEST",
            f"body: {_told(key)} is beyond the stream's reads: the last of epoch {key[0]} is number {last}, so"
            f" {last + 1} is the furthest that can be said",
        )
    return key


async def _change(
    connection: Transaction, note: Note, wanted: _Wanted, held: tuple[rows.Stream, str], after: Sequence[Span]
) -> Changed:
    stream, race = held
    race_id, stream_id = wanted.race_id, wanted.stream_id
    before, fingerprint = (
        await rows.spans(connection, stream_id, race_id),
        await rows.fingerprint(connection, stream_id),
    )
    if other := await rows.overlapped(connection, stream_id, race_id, after):
        raise _overlap(other)
    epochs = concerned(before, after)
    was = await reads.pieces(connection, stream_id, epochs) if epochs else []
    try:
        await rows.put(connection, stream_id, race_id, after)
    except DatabaseRefused as error:
        # Somebody who takes no lock, such as a release of before or a person with SQL: the constraint has seen it.
        raise ApiError("CONFLICT", "another race has some of these reads; look at it again") from error
    becomes = await reads.pieces(connection, stream_id, epochs) if epochs else []
    sides = moved(was, becomes)
    races = {each for piece in sides for each in piece[3:] if each is not None}
    change_id = None
    if epochs and not wanted.preview:
        change_id = await rows.change(
            connection,
            race_id,
            stream_id,
            before=before,
            after=after,
            by=asker().by,
            undoes=wanted.undoes,
            races=races,
        )
    shown = await segmented(connection, stream, race_id)
    if wanted.preview:
        # What to expect is what there is, and not what would be.
        shown.fingerprint = fingerprint
    changed = Changed(
        applied=change_id is not None,
        change_id=change_id,
        stream=shown,
        before=rows.told(before),
        moved=await _moved(connection, stream_id, sides, await rows.names(connection, races)),
    )
    if change_id is not None:
        await note(
            "race_segments_set" if wanted.undoes is None else "race_segments_undone",
            race=race,
            race_id=race_id,
            stream=stream.title,
            stream_id=stream_id,
            change_id=change_id,
            before=_all_told(before),
            after=_all_told(after),
            reads_moved=sum(each.reads for each in changed.moved),
        )
    return changed


async def _moved(
    connection: Transaction, stream_id: UUID, sides: Sequence[Moved], names: dict[UUID, str]
) -> list[MovedReads]:
    """Return what changes sides, together where it goes the same way: whole numbers and the outermost reads."""
    together: dict[tuple[UUID | None, UUID | None], MovedReads] = {}
    for piece, count in zip(sides, await reads.counted(connection, stream_id, sides), strict=True):
        if not count["reads"]:
            continue
        first, last = (
            ReadThere(
                epoch=piece.stream_epoch,
                seq=count[f"{end}_seq"],
                at=count[f"{end}_at"],
                tag_id=count[f"{end}_tag"],
            )
            for end in ("first", "last")
        )
        one = together.setdefault((piece.was, piece.becomes), _none_yet(piece, names, first))
        one.reads, one.last = one.reads + count["reads"], last
    return list(together.values())


def _none_yet(piece: Moved, names: dict[UUID, str], first: ReadThere) -> MovedReads:
    return MovedReads(
        reads=0,
        was_race_id=piece.was,
        was_race=None if piece.was is None else names.get(piece.was),
        becomes_race_id=piece.becomes,
        becomes_race=None if piece.becomes is None else names.get(piece.becomes),
        first=first,
        last=first,
    )


def _done(api: Api, wanted: _Wanted, changed: Changed) -> Changed:
    if changed.applied:
        races = {wanted.race_id, *(each.was_race_id for each in changed.moved)}
        for race_id in sorted(str(each) for each in races if each is not None):
            api.process.notifier.notify(RACES, race_id)
    return changed


def _moved_meanwhile(fingerprint: str) -> ApiError:
    return ApiError(
        "CONFLICT",
        "somebody else has moved boundaries of this stream, or given an epoch to a race, meanwhile; look at it again",
        details={"fingerprint": fingerprint},
    )


def _overlap(other: rows.Other) -> ApiError:
    return ApiError(
        "CONFLICT",
        f"{other.race} has {_span_told(other.span)} of this stream: move its boundary first",
        details={
            "race_id": str(other.race_id),
            "race": other.race,
            "begins": list(other.span.begins),
            "ends": other.span.ends and list(other.span.ends),
        },
    )


def _told(key: Key) -> str:
    return f"{key[0]}:{key[1]}"


def _span_told(span: Span) -> str:
    return f"{_told(span.begins)} to {'now' if span.ends is None else _told(span.ends)}"


def _all_told(spans: Sequence[Span]) -> str:
    return ", ".join(map(_span_told, spans)) or "none"
