"""A mat that is silent for a minute."""

from tests.api.watching import at, many, stream

SAMPLES = {"": stream(last_received_at=at(-60)), "of many": many(last_received_at=at(-60))}
ELSEWHERE = (
    "check (its|the) [a-z']+",
    "its antennas and its cable",
)
