"""A line that is no read."""

from tests.api.watching import many, stream

SAMPLES = {"": stream(unparsed_count=1), "of many": many(unparsed_count=1)}
ELSEWHERE = (
    "check (its|the) [a-z']+",
    "and the cable between",
)
