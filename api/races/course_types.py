"""The course of a race: its points, and what can be said of one."""

from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from api.http.types import Answer, Number, RaceName, Request, Time

__all__ = [
    "Course",
    "CoursePoint",
    "CourseQuery",
    "NewCourse",
    "NewPoint",
    "PointPatch",
    "PointPath",
    "PointStream",
]


class PointStream(Answer):
    """A stream that stands at a point, and what it is called. At a point of several: how many it has seen of the chips
    that came last, and how many of these there were; null where nothing is known.
    """

    stream_id: UUID
    forwarder_id: str
    title: str
    seen: int | None
    of_chips: int | None


class CoursePoint(Answer):
    """A point of a course. placed: somebody has said where it is; else it is a stream of the race by itself, behind
    those that have a place. crossed: bibs that were read there in epochs of the race; unknown_chips: chips that are
    none of it; reads: all. due_per_minute: so many are due there at the moment, as others took from the point before;
    null where too little is known, and where they begin. closed_at: since when somebody expects nobody there, and
    closed_by: who; closes_at: from when on nobody is expected; is_closed: whether it is so now.
    """

    name: str
    place: int | None
    placed: bool
    is_closed: bool
    closed_at: Time | None
    closed_by: str | None
    closes_at: Time | None
    due_per_minute: float | None
    streams: list[PointStream]
    crossed: int
    unknown_chips: int
    reads: int
    last_received_at: Time | None


class Course(Answer):
    """The points of a race, in the order in which runners come by. left_out: streams without a place that are not among
    them. arranged_at: when somebody has arranged the points last; null: nobody has.
    """

    race_id: UUID
    points: list[CoursePoint]
    left_out: int
    arranged_at: Time | None


class CourseQuery(Request):
    """unplaced: so many of the streams without a place at the most, all of them unless it is given."""

    unplaced: Annotated[int, Meta(ge=0, le=1000)] | None = None


class PointPath(Request):
    """A point of a race, by its place in the course."""

    race_id: UUID
    place: Number


class PointPatch(Request):
    """What of a point can be changed, one or both. closed: nobody is expected there any more, whatever its streams read
    for other races. closes_at: from when on that is so by itself; null: when somebody says so. expected_closed: what it
    is, and expected_arranged_at: when the points were arranged last, as far as whoever asks knows.
    """

    says_something: ClassVar[bool] = True

    closed: bool | UnsetType = UNSET
    closes_at: Time | UnsetType | None = UNSET
    expected_closed: bool | UnsetType = UNSET
    expected_arranged_at: Time | UnsetType | None = UNSET


class NewPoint(Request):
    """A point: what it is called, and the streams that stand there; none where they are gone and others are to come."""

    name: RaceName
    stream_ids: Annotated[list[UUID], Meta(max_length=20)]


class NewCourse(Request):
    """All points that have a place, in course order. A stream stands at one of them. expected_arranged_at: when the
    points were arranged last, as far as whoever asks knows.
    """

    points: Annotated[list[NewPoint], Meta(max_length=50)]
    expected_arranged_at: Time | UnsetType | None = UNSET
