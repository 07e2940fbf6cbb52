"""How a reader's clock drifts, and when it will be off by how much. Pure.

A clock gains or loses evenly for hours, so its drift is the slope of a line through what was kept of it since it was
set last, by least squares. A slope is never better known than the steps in which a clock can be read, over the time
that it was watched for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import linear_regression, mean
from typing import NamedTuple

__all__ = ["HOURS", "Drift", "Point", "drift", "reaches"]

HOURS = 6.0
# Less than that says more about the network than about the clock.
LEAST_S = 30 * 60.0
LEAST_POINTS = 4
READ_TO_MS = 10.0


class Point(NamedTuple):
    """A clock at a moment: seconds of any count, and how far ahead it was."""

    at_s: float
    ahead_ms: float


class Drift(NamedTuple):
    """Microseconds that a clock gains in a second; error_ppm: of the slope, as likely as not within it twice."""

    ppm: float
    error_ppm: float

    @property
    def is_known(self) -> bool:
        """Whether it drifts for certain."""
        return abs(self.ppm) > 2 * self.error_ppm


def drift(points: Sequence[Point]) -> Drift | None:
    """Return the drift of a clock, None where too little is known of it."""
    if len(points) < LEAST_POINTS:
        return None
    at_s, ahead_ms = zip(*points, strict=True)
    span_s = max(at_s) - min(at_s)
    if span_s < LEAST_S:
        return None
    # From their middle on: seconds since 1970 squared leave no digits for milliseconds.
    middle_s = mean(at_s)
    since_s = [each - middle_s for each in at_s]
    slope, intercept = linear_regression(since_s, ahead_ms)
    left = sum((y - intercept - slope * x) ** 2 for x, y in zip(since_s, ahead_ms, strict=True))
    spread = sum(x * x for x in since_s)
    error = (left / max(1, len(points) - 2) / spread) ** 0.5
    # A millisecond in a second is a thousand in a million.
    return Drift(slope * 1000, max(error, READ_TO_MS / span_s) * 1000)


def reaches(offset_ms: float, ppm: float, bound_ms: float, at: datetime) -> datetime | None:
    """Return when a clock that was so far off will be off by `bound_ms`, on the side to which it drifts; or None."""
    if ppm == 0:
        return None
    left_ms = (bound_ms if ppm > 0 else -bound_ms) - offset_ms
    seconds = left_ms / (ppm / 1000)
    return at + timedelta(seconds=seconds) if 0 <= seconds < 10 * 365 * 86400 else None
