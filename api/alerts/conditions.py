"""What is said of facts: conditions, with the level that each may reach and when, and whom they are about. Pure.

Rules (api/alerts/rules/) say it, engine.py makes alerts of it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

__all__ = ["RANK", "Bound", "Condition", "Finding", "Key", "Level", "Owner", "SubjectKind", "lasting"]

Level: TypeAlias = Literal["good", "watch", "act"]
SubjectKind: TypeAlias = Literal["stream", "forwarder", "receiver", "process", "database", "point"]

RANK: Mapping[Level, int] = {"good": 0, "watch": 1, "act": 2}
# What has a bound in numbers, not in time, is left after twice this.
_MOMENT_S = 5.0


class Bound(NamedTuple):
    """For how long facts must hold until they are amber and until they are red, and for how long each stays: Bound(15,
    45, 30, 90) is amber after 15 s and red after 45, and each stays for twice that.
    """

    watch_s: float
    act_s: float
    leave_watch_s: float
    leave_act_s: float

    @classmethod
    def holding(cls, watch_s: float, act_s: float) -> "Bound":
        """Return a bound whose levels stay for twice the time that they took, so that what comes and goes is seen."""
        return cls(watch_s, act_s, 2 * max(watch_s, _MOMENT_S), 2 * max(act_s, _MOMENT_S))


class Key(NamedTuple):
    """What an alert is about: one signal of one device, process or stream. Key("ups", "forwarder", "box-7"); of a
    stream the id stands twice, as text and as what refers to its row.
    """

    signal: str
    subject_kind: SubjectKind
    subject_id: str
    stream_id: UUID | None = None


class Condition(NamedTuple):
    """That facts are at a level once they have lasted `after_s`; since: when they began, where facts say so."""

    level: Level
    after_s: float
    reason: str
    since: datetime | None = None


class Owner(NamedTuple):
    """The device whose streams they are, and what people call it: forwarder, "box-7", "Finish box"."""

    kind: Literal["forwarder", "receiver"]
    device_id: str
    title: str


class Finding(NamedTuple):
    """What the facts say of a key. cleared: what is so when no condition holds any more. stream_epoch: where it is of
    one epoch, which ends with it. owner: whose stream it is of, where many of them are one alert (coalesce.py).
    """

    key: Key
    title: str
    conditions: Sequence[Condition]
    advice: str
    cleared: str
    stream_epoch: int | None = None
    owner: Owner | None = None


def lasting(seconds: float) -> str:
    """Return a length of time as people say it."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.3g} s"
