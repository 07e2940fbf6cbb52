"""Who came by each point of a race over time, in bins."""

from uuid import UUID

from api.http.types import Answer, WallClock

__all__ = ["PointFlow", "RaceFlow"]


class PointFlow(Answer):
    """A point: its streams, how many came by (a person by bib, a chip without one by itself, each once), and of
    those how many in each bin. expected: how many should have come in each bin, by who came by the point before and
    how long others took from there; none where too little is known, and where they begin. outside: how many by a
    time that is far from all others', as by a reader of a wrong date.
    """

    name: str
    placed: bool
    stream_ids: list[UUID]
    crossed: int
    outside: int
    counts: list[int]
    expected: list[float]


class RaceFlow(Answer):
    """Who came by each point of a race over time, at the first read there, by the reader's clock; in bins of `bin_s`
    seconds from `begins_at` on, which is null while nobody has come by. left_out: so many streams without a place have
    no room here. waiting_events: so many stored events of the race's streams were not in it when it was
    counted.
    """

    race_id: UUID
    begins_at: WallClock | None
    bin_s: int
    points: list[PointFlow]
    left_out: int
    waiting_events: int
