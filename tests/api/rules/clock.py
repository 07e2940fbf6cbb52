"""A clock that is wrong by nearly a second."""

from api.alerts.stream_facts import ClockFacts
from tests.api.watching import many, stream

SAMPLES = {"": stream(clock=ClockFacts(900)), "of many": many(clock=ClockFacts(900))}
ELSEWHERE = (
    "set the reader's clock",
    "set TIME_ZONE",
)
