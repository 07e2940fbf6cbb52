"""A mat that has seen three quarters of what its twin has."""

from uuid import UUID

from api.alerts.findings import Facts
from api.alerts.rules.twin import TwinFacts, twins
from tests.api.watching import STREAM

__all__ = ["SAMPLES", "twin"]


def twin(seen: int, best: int = 200, *, chips: int = 200, count: int = 1, **facts: object) -> Facts:
    """Mats of a point that have seen so many chips, but for what is given."""
    well = TwinFacts(STREAM, "Finish · 10 km", seen, best, chips, False, "Left", "f", "Finish box", True)
    wrong = well._replace(**facts)  # type: ignore[arg-type]
    return {twins: [wrong._replace(stream_id=UUID(int=1 + number)) for number in range(count)]}


SAMPLES = {"": twin(150), "of many": twin(150, count=30)}
ELSEWHERE = ("check (its|the) [a-z']+", "its antennas and its cable")
