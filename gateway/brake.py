"""The brake on a device that comes back at once with what was just refused, and again (protocol.md, section 4.6).

For a while its connections are refused before the upgrade, the one refusal after which devices in the field wait; for
longer each time, until a batch of its was acked or it has been quiet. Each gateway brakes for itself.

Pure: the time comes in, the seconds to wait come out.
"""

from typing import NamedTuple
from uuid import UUID

__all__ = ["Brake"]

DELAYS_S = (5.0, 10.0, 20.0, 30.0)
FORGET_AFTER_S = 300.0
# Who is braked has a token; the oldest is forgotten first.
KEPT = 10_000


class _Pulled(NamedTuple):
    times: int
    at: float


class Brake:
    """Which tokens are braked."""

    def __init__(self) -> None:
        self._pulled: dict[UUID, _Pulled] = {}  # the one that was pulled longest ago first

    def pull(self, token_id: UUID, *, now: float) -> float:
        """Brake a token once more and return for how many seconds."""
        times = self._since(self._pulled.pop(token_id, None), now) + 1
        while len(self._pulled) >= KEPT:
            del self._pulled[next(iter(self._pulled))]
        self._pulled[token_id] = _Pulled(times, now)
        return _delay(times)

    def release(self, token_id: UUID) -> None:
        """Forget what a token has done."""
        self._pulled.pop(token_id, None)

    def left_s(self, token_id: UUID, *, now: float) -> float:
        """Return for how long connections of a token are still refused; 0 for one that is admitted."""
        pulled = self._pulled.get(token_id)
        return 0.0 if pulled is None else max(0.0, pulled.at + _delay(pulled.times) - now)

    @staticmethod
    def _since(pulled: _Pulled | None, now: float) -> int:
        return 0 if pulled is None or now - pulled.at > FORGET_AFTER_S else pulled.times


def _delay(times: int) -> float:
    return DELAYS_S[min(times, len(DELAYS_S)) - 1]
