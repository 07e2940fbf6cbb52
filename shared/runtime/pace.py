"""How many events a process handles in a second, by one of its own counters: what it says of itself to all."""

from collections.abc import Callable
from time import monotonic

from prometheus_client import REGISTRY

__all__ = ["Pace", "counted"]

# Who asks again sooner gets the same: of a moment there is no rate.
LEAST_S = 0.5


def counted(name: str) -> float:
    """Return what the counter `rtserver_<name>_total` of this process has come to; 0 where there is none."""
    return REGISTRY.get_sample_value(f"rtserver_{name}_total") or 0.0


class Pace:
    """The rate of `total` between one question and the next. `clock`: seconds, from anywhere."""

    def __init__(self, total: Callable[[], float], *, clock: Callable[[], float] = monotonic) -> None:
        self._total = total
        self._clock = clock
        self._last = total()
        self._last_at = clock()
        self._rate = 0.0

    def per_second(self) -> float:
        """Return how many came in a second since the last question."""
        total, now = self._total(), self._clock()
        if now - self._last_at >= LEAST_S:
            self._rate = (total - self._last) / (now - self._last_at)
            self._last, self._last_at = total, now
        return self._rate
