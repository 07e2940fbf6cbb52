"""Another line under a number."""

from tests.api.watching import many, stream

SAMPLES = {"": stream(open_conflicts=1), "of many": many(open_conflicts=1)}
