"""A reader that its forwarder cannot reach."""

from tests.api.watching import many, stream

SAMPLES = {"": stream(reader_connected=False), "of many": many(reader_connected=False)}
ELSEWHERE = (
    "check (its|the) [a-z']+",
    "and the cable between",
)
