"""Whether a point is silent while runners are due: what was due there, against that nobody has come. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from math import exp
from typing import Literal, NamedTuple

from api.mats.forecast import BIN_S

__all__ = ["ACT", "ARRIVES_S", "GAPS", "WATCH", "Silence", "due_within", "is_long", "judged", "none_of"]

# How improbable it must be that nobody came.
WATCH, ACT = 1e-2, 1e-4
# A read is sent, stored and made a passing by then: who was due later may have come. It also keeps what is improbable
# once in ten thousand from being said once a race: ten thousand come in it.
ARRIVES_S = 20.0
# People run in groups, so that gaps are longer than chance would have them: beyond what is usual by so much.
GAPS = 2.5
# Where too little is known to say who is due: as silent streams of no race are red (alerts/rules/last_read.py).
LONG_S, LONGEST = 45.0, 4


class Silence(NamedTuple):
    """How long a point has been silent, how long is usual there, how many were due meanwhile, and how many of those at
    the latest, in seconds and runners.
    """

    lasts_s: float
    usual_s: float
    due: float
    surely_due: float


def none_of(expected: float) -> float:
    """Return how probable it is that nobody comes where so many are expected: the lowest tail of Poisson's law."""
    return exp(-expected)


def due_within(bins: Sequence[float], begins_s: float, ends_s: float) -> float:
    """Return how many are due between two moments, in seconds since the bins begin."""
    sums = [0.0, *accumulate(bins)]

    def until(at_s: float) -> float:
        at = min(max(0.0, at_s / BIN_S), float(len(bins)))
        whole = int(at)
        return sums[whole] + (at - whole) * (bins[whole] if whole < len(bins) else 0.0)

    return until(ends_s) - until(begins_s) if ends_s > begins_s else 0.0


def judged(silence: Silence) -> Literal["good", "watch", "act"]:
    """Return how bad it is."""
    if silence.lasts_s < max(ARRIVES_S, GAPS * silence.usual_s):
        return "good"
    if none_of(silence.surely_due) < ACT:
        return "act"
    return "watch" if none_of(silence.due) < WATCH else "good"


def is_long(lasts_s: float, longest_gap_s: float) -> bool:
    """Return whether a silence is one by itself, whoever is due: far longer than any that was."""
    return lasts_s >= max(LONG_S, LONGEST * longest_gap_s)
