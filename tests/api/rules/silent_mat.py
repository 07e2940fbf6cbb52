"""A point that has been silent for two minutes while somebody was due every five seconds."""

from uuid import UUID

from api.alerts.findings import Facts
from api.alerts.rules.silent_mat import PointFacts, points
from tests.api.watching import at

__all__ = ["SAMPLES", "point"]


def point(lasts_s: float, *, due: float | None = 2.0, usual_gap_s: float = 10, **facts: object) -> Facts:
    """A point where so many are due in each ten seconds, but for what is given; due: None: nobody knows who is."""
    bins = [] if due is None else [due] * 180
    well = PointFacts(
        UUID(int=5),
        3,
        "Finish · 10 km",
        at(-lasts_s),
        True,
        False,
        lasts_s,
        0.0,
        usual_gap_s,
        360.0,
        0,
        bins,
        bins,
    )
    return {points: [well._replace(**facts)]}  # type: ignore[arg-type]


SAMPLES = {
    "": point(120),
    "perhaps": point(55),
    "too little known": point(240, due=None, due_in_all=28.0),
    "never read": point(120, passed=40),
}
ELSEWHERE = ("check (its|the) [a-z']+", "its antennas and its cable")
