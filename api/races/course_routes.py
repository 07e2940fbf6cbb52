"""The course of a race: which points there are, in which order, and who has come by."""

from collections.abc import Sequence

from msgspec.structs import replace

from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.races.rosters import no_race
from api.races.store import course as store
from api.races.store import races
from api.races.types import Course, NewCourse, NewPoint, RacePath
from shared.db.channels import RACES

__all__ = ["set_course", "show_course"]


async def show_course(api: Api, *, path: RacePath) -> Course:
    """Show the points of a race in course order, with who has come by each."""
    if await races.name_of(api.pool, path.race_id) is None:
        raise no_race()
    return Course(race_id=path.race_id, points=await store.course(api.pool, path.race_id))


async def set_course(api: Api, *, path: RacePath, body: NewCourse) -> Course:
    """Let the course of a race have these points and no others; streams that are at none stay points by themselves."""
    points = _checked(body.points)
    async with api.changing() as (connection, note):
        try:
            await store.replace(connection, path.race_id, points)
        except store.NoSuchRace:
            raise no_race() from None
        except store.NoSuchStream:
            raise no_stream() from None
        name = await races.name_of(connection, path.race_id)
        names = ", ".join(each.name for each in points)
        await note("race_course_set", race=name, race_id=path.race_id, points=names)
    api.process.notifier.notify(RACES, str(path.race_id))
    return await show_course(api, path=path)


def _checked(points: Sequence[NewPoint]) -> list[NewPoint]:
    streams = [stream_id for point in points for stream_id in point.stream_ids]
    if len(set(streams)) < len(streams):
        raise ApiError("BAD_REQUEST", "body: a stream stands at one point of a race; name it once")
    named = [replace(point, name=point.name.strip()) for point in points]
    if not all(point.name for point in named):
        raise ApiError("BAD_REQUEST", "body: the name of a point is blank")
    return named
