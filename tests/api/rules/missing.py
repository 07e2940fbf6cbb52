"""A number that never came."""

from tests.api.watching import many, stream

SAMPLES = {"": stream(missing_count=1), "of many": many(missing_count=1)}
