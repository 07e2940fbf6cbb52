"""The course of a race: which points there are, in which order, and who has come by."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from api.http.asking import asker
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.mats.store import kept
from api.races.course_types import (
    Course,
    CoursePoint,
    CourseQuery,
    NewCourse,
    NewPoint,
    PointPatch,
    PointPath,
)
from api.races.rosters import no_race
from api.races.store import course as store
from api.races.store import races
from api.races.types import RacePath
from shared.db.channels import RACES

__all__ = ["patch_point", "set_course", "show_course"]


async def show_course(api: Api, *, path: RacePath, query: CourseQuery) -> Course:
    """Show the points of a race in course order, with who has come by each."""
    # Before the points: who arranges newer ones by an older time is refused, and who did the other way round is not.
    try:
        arranged_at = await store.arranged_at(api.pool, path.race_id)
    except store.NoSuchRace:
        raise no_race() from None
    points = await store.course(api.pool, path.race_id)
    due = await kept.due_now(api.pool, path.race_id)
    seen = await kept.seen_by_mats(api.pool, path.race_id)
    shown = [_with_mats(each, due, seen) for each in _first(points, query.unplaced)]
    return Course(
        race_id=path.race_id, points=shown, left_out=len(points) - len(shown), arranged_at=arranged_at
    )


def _first(points: list[CoursePoint], unplaced: int | None) -> list[CoursePoint]:
    """Return the points with a place, and so many of those without, which stand behind them."""
    return points if unplaced is None else points[: sum(point.placed for point in points) + unplaced]


def _with_mats(
    point: CoursePoint, due: Mapping[int, float], seen: Mapping[UUID, tuple[int, int]]
) -> CoursePoint:
    """Return a point with who is due there, and what its mats have seen of those who came last."""
    streams = [
        replace(each, seen=seen[each.stream_id][0], of_chips=seen[each.stream_id][1])
        if each.stream_id in seen
        else each
        for each in point.streams
    ]
    expected = None if point.is_closed or point.place is None else due.get(point.place)
    return replace(point, streams=streams, due_per_minute=expected)


async def patch_point(api: Api, *, path: PointPath, body: PointPatch) -> Course:
    """Expect nobody at a point any more, or again, or from a time on. With what is expected only if it is so: of two
    who change it at once, the second is told.
    """
    async with api.changing() as (connection, note):
        try:
            arranged_at = await store.held(connection, path.race_id)
        except store.NoSuchRace:
            raise no_race() from None
        if body.expected_arranged_at not in (UNSET, arranged_at):
            raise _arranged(arranged_at)
        point = await store.point(connection, path.race_id, path.place)
        if point is None:
            raise ApiError("NOT_FOUND", f"the race has no point at place {path.place}")
        is_closed = point.closed_at is not None
        if body.expected_closed not in (UNSET, is_closed):
            raise _switched(point)
        of = {
            "race": await races.name_of(connection, path.race_id),
            "race_id": path.race_id,
            "point": point.name,
        }
        if body.closed not in (UNSET, is_closed):
            await store.close(connection, path.race_id, path.place, by=asker().by if body.closed else None)
            await note("point_closed" if body.closed else "point_opened", **of)
        if body.closes_at is not UNSET and body.closes_at != point.closes_at:
            await store.close_at(connection, path.race_id, path.place, body.closes_at)
            told = None if body.closes_at is None else body.closes_at.isoformat()
            await note("point_closes_at", **of, closes_at=told)
    api.process.notifier.notify(RACES, str(path.race_id))
    return await show_course(api, path=RacePath(race_id=path.race_id), query=CourseQuery())


def _switched(point: store.KnownPoint) -> ApiError:
    by_now = "open" if point.closed_at is None else f"closed by {point.closed_by}"
    return ApiError(
        "CONFLICT",
        f"{point.name} is {by_now} by now",
        details={"closed": point.closed_at is not None, "closed_by": point.closed_by},
    )


async def set_course(api: Api, *, path: RacePath, body: NewCourse) -> Course:
    """Let the course of a race have these points and no others; streams that are at none stay points by themselves.
    With an expected time only if nobody has arranged them since: of two who do at once, the second is told.
    """
    points = _checked(body.points)
    async with api.changing() as (connection, note):
        try:
            # Held until the end: who arranges at the same time waits here, and then sees what we did.
            arranged_at = await store.held(connection, path.race_id)
            if body.expected_arranged_at not in (UNSET, arranged_at):
                raise _arranged(arranged_at)
            await store.replace(connection, path.race_id, points)
        except store.NoSuchRace:
            raise no_race() from None
        except store.NoSuchStream:
            raise no_stream() from None
        name = await races.name_of(connection, path.race_id)
        names = ", ".join(each.name for each in points)
        await note("race_course_set", race=name, race_id=path.race_id, points=names)
    api.process.notifier.notify(RACES, str(path.race_id))
    return await show_course(api, path=path, query=CourseQuery())


def _arranged(arranged_at: datetime | None) -> ApiError:
    return ApiError(
        "CONFLICT",
        "somebody else has arranged the points meanwhile; look at them again",
        details={"arranged_at": None if arranged_at is None else arranged_at.isoformat()},
    )


def _checked(points: Sequence[NewPoint]) -> list[NewPoint]:
    streams = [stream_id for point in points for stream_id in point.stream_ids]
    if len(set(streams)) < len(streams):
        raise ApiError("BAD_REQUEST", "body: a stream stands at one point of a race; name it once")
    named = [replace(point, name=point.name.strip()) for point in points]
    if not all(point.name for point in named):
        raise ApiError("BAD_REQUEST", "body: the name of a point is blank")
    return named
