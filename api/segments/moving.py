"""Moves boundaries: what would become of it first, by the very same statements, which are then taken back; then, where
it is to count, the same again. Who changes something says what he has seen, and is refused where it is not so any more.

A race that begins waits for who moves a boundary of its stream, so that neither is lost to the other
(`reserve_race_epoch`), and a gun does not wait: reads are counted in between, when nothing is held. What was planned
holds for as long as the stream's fingerprint is the same.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType

from api.http.asking import asker
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.segments.pieces import Key, Moved, Span, concerned, moved, overlapping
from api.segments.shown import Outline, outlined, shown
from api.segments.store import reads, rows
from api.segments.types import Bound, Changed, MovedReads, NewSegments, ReadThere
from shared.db.channels import RACES
from shared.db.connections import Statements, Transaction
from shared.db.errors import DatabaseRefused, translated

__all__ = ["move", "undo"]


class _Wanted(NamedTuple):
    """Whose segments are to be others, and in which stream. undoes: the change that is taken back."""

    race_id: UUID
    stream: rows.Stream
    preview: bool
    undoes: int | None = None


class _Plan(NamedTuple):
    """What becomes of a stream whose fingerprint is this one: whose reads change sides, and what it is like then."""

    fingerprint: str
    race: str
    before: list[Span]
    after: list[Span]
    sides: list[Moved]
    names: dict[UUID, str]
    then: Outline


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
    stream = await _there(api, race_id, stream_id)
    # A time is looked for among reads, which takes long: nothing is held yet.
    after = await _spans(api.pool, stream_id, body)
    wanted = _Wanted(race_id, stream, body.preview)
    return await _changed(api, wanted, await _planned(api, wanted, after, body.expected_fingerprint))


async def undo(api: Api, race_id: UUID, change_id: int, *, preview: bool) -> Changed:
    """Let the segments be as they were before a change, unless they are not as it has left them any more."""
    found = await rows.changes(api.pool, race_id, change_id)
    if not found:
        raise ApiError(
            "NOT_FOUND", f"no change of this race has this number; the newest {rows.CHANGES_KEPT} are kept"
        )
    stream = await _there(api, race_id, found[0]["stream_id"])
    # Before it is asked again whether it can be undone: what is changed in between is seen by the plan.
    fingerprint = await rows.fingerprint(api.pool, stream.stream_id)
    found = await rows.changes(api.pool, race_id, change_id)
    if not found or not found[0]["undoable"]:
        raise _moved_meanwhile(fingerprint)
    after = [rows.span(*each) for each in found[0]["before"]]
    wanted = _Wanted(race_id, stream, preview, undoes=change_id)
    return await _changed(api, wanted, await _planned(api, wanted, after, fingerprint))


async def _there(api: Api, race_id: UUID, stream_id: UUID) -> rows.Stream:
    if not await rows.names(api.pool, [race_id]):
        raise _no_race()
    stream = await rows.stream(api.pool, stream_id)
    if stream is None:
        raise no_stream()
    return stream


@asynccontextmanager
async def _taken_back(api: Api) -> AsyncIterator[Transaction]:
    """Yield a connection; nothing of what is done on it stays."""
    with translated():
        async with api.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            finally:
                await transaction.rollback()


async def _planned(api: Api, wanted: _Wanted, after: list[Span], expected: str | UnsetType) -> _Plan:
    """Return what would become of it. Nothing in here looks at a read."""
    race_id, stream_id = wanted.race_id, wanted.stream.stream_id
    async with _taken_back(api) as connection:
        # Whoever is waited for is waited for before a race that begins can be behind us: here who deletes the race.
        race = await rows.keep_race(connection, race_id)
        if race is None:
            raise _no_race()
        await rows.hold(connection, stream_id)
        fingerprint = await _as_expected(connection, stream_id, expected)
        before = await rows.spans(connection, stream_id, race_id)
        if other := await rows.overlapped(connection, stream_id, race_id, after):
            raise _overlap(other)
        epochs = concerned(before, after)
        was = await reads.pieces(connection, stream_id, epochs) if epochs else []
        await _put(connection, wanted, after)
        becomes = await reads.pieces(connection, stream_id, epochs) if epochs else []
        sides = moved(was, becomes)
        races = {each for piece in sides for each in piece[3:] if each is not None}
        names = await rows.names(connection, races)
        then = await outlined(connection, wanted.stream, race_id)
    return _Plan(fingerprint, race, before, after, sides, names, then)


async def _as_expected(connection: Transaction, stream_id: UUID, expected: str | UnsetType) -> str:
    fingerprint = await rows.fingerprint(connection, stream_id)
    if expected not in (UNSET, fingerprint):
        raise _moved_meanwhile(fingerprint)
    return fingerprint


async def _put(connection: Transaction, wanted: _Wanted, after: Sequence[Span]) -> None:
    try:
        await rows.put(connection, wanted.stream.stream_id, wanted.race_id, after)
    except DatabaseRefused as error:
        # Somebody who takes no lock, such as a release of before or a person with SQL: the constraint has seen it.
        raise ApiError("CONFLICT", "another race has some of these reads; look at it again") from error


async def _spans(database: Statements, stream_id: UUID, body: NewSegments) -> list[Span]:
    """Return what is wanted as keys of reads, each of which the stream has or is to have next."""
    spans = [
        Span(
            await _key(database, stream_id, each.begins, "begins"),
            None if each.ends is None else await _key(database, stream_id, each.ends, "ends"),
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


async def _key(database: Statements, stream_id: UUID, bound: Bound, which: Literal["begins", "ends"]) -> Key:
    if bound.at is not None:
        found = await reads.first_at(database, stream_id, bound.at, bound.epoch)
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
    known = await reads.known_epochs(database, stream_id, [key[0], key[0] - 1])
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


async def _changed(api: Api, wanted: _Wanted, plan: _Plan) -> Changed:
    """Return what becomes of a plan; unless it is only looked at, it is done first."""
    stream = await shown(api.pool, plan.then)
    sides = await _moved(api.pool, wanted.stream.stream_id, plan)
    change_id = None
    if wanted.preview:
        # What to expect is what there is, and not what would be.
        stream.fingerprint = plan.fingerprint
    elif plan.before != plan.after:
        change_id = await _done(api, wanted, plan, reads_moved=sum(each.reads for each in sides))
    return Changed(
        applied=change_id is not None,
        change_id=change_id,
        stream=stream,
        before=rows.told(plan.before),
        moved=sides,
    )


async def _done(api: Api, wanted: _Wanted, plan: _Plan, *, reads_moved: int) -> int:
    """Do what was planned, and tell of it; return the number of the change."""
    race_id, stream = wanted.race_id, wanted.stream
    races = {race_id, *plan.names}
    async with api.changing() as (connection, note):
        # An import holds its race for as long as it takes; it is waited for before a race that begins can be behind us.
        if race_id not in await rows.hold_races(connection, races):
            raise _no_race()
        await rows.hold(connection, stream.stream_id)
        await _as_expected(connection, stream.stream_id, plan.fingerprint)
        await _put(connection, wanted, plan.after)
        change_id = await rows.change(
            connection,
            race_id,
            stream.stream_id,
            before=plan.before,
            after=plan.after,
            by=asker().by,
            undoes=wanted.undoes,
            races=races,
        )
        await note(
            "race_segments_set" if wanted.undoes is None else "race_segments_undone",
            race=plan.race,
            race_id=race_id,
            stream=stream.title,
            stream_id=stream.stream_id,
            change_id=change_id,
            before=_all_told(plan.before),
            after=_all_told(plan.after),
            reads_moved=reads_moved,
        )
    for each in sorted(map(str, races)):
        api.process.notifier.notify(RACES, each)
    return change_id


async def _moved(database: Statements, stream_id: UUID, plan: _Plan) -> list[MovedReads]:
    """Return what changes sides, together where it goes the same way: whole numbers and the outermost reads."""
    together: dict[tuple[UUID | None, UUID | None], MovedReads] = {}
    counts = await reads.counted(database, stream_id, plan.sides)
    for piece, count in zip(plan.sides, counts, strict=True):
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
        one = together.setdefault((piece.was, piece.becomes), _none_yet(piece, plan.names, first))
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


def _no_race() -> ApiError:
    return ApiError("NOT_FOUND", "there is no race of this id")


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
