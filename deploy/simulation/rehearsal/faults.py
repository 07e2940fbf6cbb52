"""What breaks in a rehearsal, and when: a pure function of a seed.

- `cut`     a forwarder's link is gone for a while: its reads wait in its journal and come when it is back;
- `twice`   a forwarder loses its session and sends again the newest reads that were acked, as one whose memory of acks
            was older than what was acked to it;
- `clock`   a reader's clock is set wrong for a while, then right again;
- `killed`  a mat is dead for a while: no reader of its forwarder says anything, and nothing is recorded.

Each has its turn, in an order that the seed gives, so that a rehearsal of any length has all of them, and none begins
before the one before it is over: what is told of one is told of no other.
"""

from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple, TypeAlias, get_args

__all__ = ["KINDS", "Fault", "Kind", "plan"]

Kind: TypeAlias = Literal["cut", "twice", "clock", "killed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Parts of a turn: quiet before it, so that what it brings about has time to be over; how long it lasts.
_BEGINS, _LASTS = (0.15, 0.35), (0.35, 0.55)
# What a person sets wrong: minutes, an hour; in both directions.
_OFF_S = (-3600.0, -480.0, -30.0, 12.0, 900.0)


class Fault(NamedTuple):
    """What breaks at the forwarder or mat (`clock`) of that number, from `at_s` on for so long; off_s: of a clock."""

    at_s: float
    lasts_s: float
    kind: Kind
    subject: int
    off_s: float = 0.0


def plan(
    seed: int, *, forwarders: int, mats: int, seconds: float, turns: int = len(KINDS)
) -> Sequence[Fault]:
    """Return what breaks while a race of so many seconds is rehearsed: of each kind as often as of the others."""
    random = Random(seed)  # noqa: S311 - the same again, not a secret
    kinds = [kind for _ in range(-(-turns // len(KINDS))) for kind in random.sample(KINDS, len(KINDS))]
    length = seconds / turns
    return [
        Fault(
            at_s=turn * length + random.uniform(*_BEGINS) * length,
            lasts_s=random.uniform(*_LASTS) * length,
            kind=kind,
            subject=random.randrange(mats if kind == "clock" else forwarders),
            off_s=random.choice(_OFF_S) if kind == "clock" else 0.0,
        )
        for turn, kind in enumerate(kinds[:turns])
    ]
