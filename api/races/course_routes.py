"""The course of a race: which points there are, in which order, and who has come by."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET
from msgspec.structs import replace

from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.races.rosters import no_race
from api.races.store import course as store
from api.races.store import races
from api.races.types import Course, CoursePoint, CourseQuery, NewCourse, NewPoint, RacePath
from shared.db.channels import RACES

__all__ = ["set_course", "show_course"]


async def show_course(api: Api, *, path: RacePath, query: CourseQuery) -> Course:
    """Show the points of a race in course order, with who has come by each."""
    # Before the points: who arranges newer ones by an older time is refused, and who did the other way round is not.
    try:
        arranged_at = await store.arranged_at(api.pool, path.race_id)
    except store.NoSuchRace:
        raise no_race() from None
    points = await store.course(api.pool, path.race_id)
    shown = _first(points, query.unplaced)
    return Course(
        race_id=path.race_id, points=shown, left_out=len(points) - len(shown), arranged_at=arranged_at
    )


def _first(points: list[CoursePoint], unplaced: int | None) -> list[CoursePoint]:
    """Return the points with a place, and so many of those without, which stand behind them."""
    return points if unplaced is None else points[: sum(point.placed for point in points) + unplaced]


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
