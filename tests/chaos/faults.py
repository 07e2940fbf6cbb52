"""Which faults strike, in what order and whom: a pure function of the seed.

Faults come in rounds: each round holds every kind once, shuffled, so that a short run meets most kinds and a
long one meets each often. One strike in four is two faults, the second in the middle of the first. A
strike says what happens; how it is done is inject.py's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from shared.roles import ROLES

__all__ = ["ATTACKS", "KINDS", "PROCESSES_OF_EACH_ROLE", "ROLES", "Fault", "Strike", "strikes"]

PROCESSES_OF_EACH_ROLE = 2

# "stop" is SIGSTOP and, some seconds later, SIGCONT; "outlast" goes on only when the others have taken over. "plug out"
# kills everything at once, Postgres too. "fail drains" is an I/O error that passes, for some streams. "send late" has
# numbers of an epoch stored behind higher ones. "control readers" asks forwarders of either generation, which upload
# nothing meanwhile. An "attack" (attack.py) is still under way when it must flow again.
ATTACKS = ("oversize", "conflicting", "unfinished", "numerous")
_ROLE_KINDS = {
    "kill": ROLES,
    "stop": ROLES,
    "outlast": ROLES[:3],
}
_OTHER_KINDS = (
    "end a backend",
    "crash postgres",
    "plug out",
    "cut connections",
    "half-open connections",
    "send twice",
    "reset epochs",
    "control readers",
    "lose a journal",
    "revoke a token",
    "withhold notifications",
    "fail drains",
    "send late",
    *(f"attack {how}" for how in ATTACKS),
)
KINDS = (*(f"{what} {role}" for what, roles in _ROLE_KINDS.items() for role in roles), *_OTHER_KINDS)

_TWO_AT_ONCE = 0.25
_CALM_S = (0.2, 1.2)
# The second of two falls into what the first has begun.
_APART_S = (0.0, 0.6)
_SECONDS = {"stop": (0.5, 4.0), "withhold": (0.5, 2.0), "fail": (0.2, 2.0), "attack": (2.0, 5.0)}
_PICKED_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `picks` are 31-bit numbers that choose among whatever it strikes, `seconds` how long it lasts."""

    kind: str
    picks: tuple[int, ...]
    seconds: float = 0.0

    @property
    def what(self) -> str:
        """The first word of its kind."""
        return self.kind.partition(" ")[0]

    @property
    def role(self) -> str:
        """The role it strikes; "" where it strikes none."""
        return self.kind.partition(" ")[2] if self.what in _ROLE_KINDS else ""

    @property
    def index(self) -> int:
        """Which process of its role it strikes."""
        return self.picks[0] % PROCESSES_OF_EACH_ROLE


@dataclass(frozen=True, slots=True)
class Strike:
    """One or two faults, `apart_s` apart, after `calm_s` of peace."""

    faults: tuple[Fault, ...]
    calm_s: float
    apart_s: float

    @property
    def kind(self) -> str:
        """What the report files it under."""
        return self.faults[0].kind if len(self.faults) == 1 else "two at once"

    def __str__(self) -> str:
        return " and ".join(
            fault.kind
            + (f" {fault.index}" if fault.role else "")
            + (f" ({fault.seconds} s)" * (fault.seconds > 0))
            for fault in self.faults
        )


def strikes(seed: int) -> Iterator[Strike]:
    """Yield the strikes of a seed, without end."""
    random = Random(seed)
    faults = _faults(random)
    for first in faults:
        others = [] if first.what == "outlast" or random.random() >= _TWO_AT_ONCE else list(islice(faults, 1))
        if others and (others[0].what == "outlast" or others[0].kind == first.kind):
            # Who outlasts must be left alone by the rest; it strikes next.
            yield from (_strike(random, first), _strike(random, others[0]))
        else:
            yield _strike(random, first, *others)


def _strike(random: Random, *faults: Fault) -> Strike:
    return Strike(faults, _between(random, _CALM_S), _between(random, _APART_S))


def _faults(random: Random) -> Iterator[Fault]:
    while True:
        for kind in random.sample(KINDS, len(KINDS)):
            picks = tuple(random.getrandbits(31) for _ in range(random.randint(1, _PICKED_AT_MOST)))
            lasting = _SECONDS.get(kind.partition(" ")[0])
            yield Fault(kind, picks, _between(random, lasting) if lasting else 0.0)


def _between(random: Random, bounds: tuple[float, float]) -> float:
    return round(random.uniform(*bounds), 1)
