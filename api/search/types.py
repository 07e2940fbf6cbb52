"""Who is looked for, who was found, and what was read of one of them."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from api.crossings.crossing import DEFAULT_GAP_S, LARGEST_GAP_S, SMALLEST_GAP_S, Rule
from api.http.types import Answer, Request, WallClock
from api.races.types import Bib

__all__ = [
    "ChipPath",
    "Found",
    "FoundPerson",
    "PersonPath",
    "Search",
    "State",
    "Timeline",
    "TimelineCrossing",
    "TimelinePoint",
    "TimelineQuery",
    "TimelineRead",
]

State = Literal["seen", "not_seen", "due", "ahead"]


class Search(Request):
    """Who is looked for: a bib, a chip, or a part of a name of two characters or more. In a body, because names stand
    in no address: proxies keep addresses.
    """

    q: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]


class FoundPerson(Answer):
    """Somebody of a race; or, where `race_id` is null, a chip that was read, whoever has it."""

    race_id: UUID | None
    race: str | None
    bib: int | None
    first_name: str | None
    last_name: str | None
    chip_ids: list[str]


class Found(Answer):
    """Who was found: those first whose bib or chip it is, the newest race first. left_out: how many more there are."""

    people: list[FoundPerson]
    left_out: int


class PersonPath(Request):
    """A person of a race."""

    race_id: UUID
    bib: Bib


class ChipPath(Request):
    """A chip."""

    chip_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]


class TimelineQuery(Request):
    """gap: reads less than this apart, at one point, are one crossing."""

    gap: Annotated[int, Meta(ge=SMALLEST_GAP_S, le=LARGEST_GAP_S)] = DEFAULT_GAP_S


class TimelineRead(Answer):
    """A read. gap_s: since the one before it, wherever that was. counts: it is the read of its crossing that counts;
    all others of the crossing are follow-ups. crossing: which of the crossings it is of, from 0 on.
    """

    read_at: WallClock
    chip_id: str
    point: str
    stream_id: UUID
    stream_epoch: int
    seq: int
    gap_s: float | None
    counts: bool
    crossing: int


class TimelineCrossing(Answer):
    """Once at a point. place: in the course; null: of a stream that stands at no point. at: of the read that counts.
    since_s: since the crossing before.
    """

    place: int | None
    point: str
    at: WallClock
    rule: Rule
    first_read_at: WallClock
    last_read_at: WallClock
    reads: int
    since_s: float | None


class TimelinePoint(Answer):
    """A point of the course. at: when she was seen there last. expected_at: when she would be by the median of `others`
    who went from the point where she was seen before to this one; null: nobody did. others_in_that_minute: who was seen
    there around that time, where she was not.
    """

    place: int
    name: str
    state: State
    at: WallClock | None = None
    expected_at: WallClock | None = None
    others: int = 0
    others_in_that_minute: int | None = None


class Timeline(Answer):
    """What was read of a person, in the order of the readers' time. is_cut: there are more crossings, of a chip that is
    read all day. reads_left_out: what is in crossings and not among the reads, of those that are many. waiting_events:
    events that are stored and could not be looked at yet; 0: all were.
    """

    race_id: UUID | None
    race: str | None
    bib: int | None
    first_name: str | None
    last_name: str | None
    chip_ids: list[str]
    points: list[TimelinePoint]
    crossings: list[TimelineCrossing]
    is_cut: bool
    reads: list[TimelineRead]
    reads_left_out: int
    waiting_events: int
