"""What becomes of claims: troubles, as they stand from one look to the next.

Pure: findings and the clock come in as arguments, a new standing of each trouble comes out. BOUNDS is the one place
where the times stand; page, API, metrics and alerts follow it.

A claim is dated where the facts say since when they are so; where they do not, the standing remembers since when the
claim has been made. A level is reached as soon as a claim has lasted its time, and left only when no claim has reached
it for twice the time of its bound, so that what comes and goes stays in sight. What is not there any more (a stream, an
epoch, a process that has left) ends at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

__all__ = [
    "BOUNDS",
    "RANK",
    "Bound",
    "Claim",
    "Finding",
    "Key",
    "Level",
    "Signal",
    "Standing",
    "SubjectKind",
    "advance",
    "judge",
    "lasting",
    "worst",
]

Level: TypeAlias = Literal["good", "watch", "act"]
Signal: TypeAlias = Literal[
    "forwarder_gone",
    "forwarder_fault",
    "last_read",
    "receiver_behind",
    "receiver_gone",
    "missing",
    "conflict",
    "clock",
    "unparsed",
    "process",
    "database",
]
SubjectKind: TypeAlias = Literal["stream", "forwarder", "receiver", "process", "database"]

RANK: Mapping[Level, int] = {"good": 0, "watch": 1, "act": 2}
# What has a bound in numbers, not in time, is left after twice this.
_MOMENT_S = 5.0


class Bound(NamedTuple):
    """For how long facts must hold until they are amber and until they are red, and for how long each stays."""

    watch_s: float
    act_s: float
    leave_watch_s: float
    leave_act_s: float


def _lasting(watch_s: float, act_s: float) -> Bound:
    return Bound(watch_s, act_s, 2 * max(watch_s, _MOMENT_S), 2 * max(act_s, _MOMENT_S))


# A receiver that is gone has the times of one that is behind. A conflict ends when a person has
# acknowledged it, and not some time later.
BOUNDS: Mapping[Signal, Bound] = {
    "forwarder_gone": _lasting(15, 45),
    "forwarder_fault": Bound(0, 0, 0, 0),
    "last_read": _lasting(20, 45),
    "receiver_behind": _lasting(5, 30),
    "receiver_gone": _lasting(5, 30),
    "missing": _lasting(0, 60),
    "conflict": Bound(0, 0, 0, 0),
    "clock": _lasting(0, 0),
    "unparsed": _lasting(0, 0),
    "process": _lasting(5, 15),
    "database": _lasting(0, 0),
}


class Key(NamedTuple):
    """What a trouble is about: one signal of one device, process or stream."""

    signal: Signal
    subject_kind: SubjectKind
    subject_id: str
    stream_id: UUID | None = None


class Claim(NamedTuple):
    """That facts are at a level once they have lasted `after_s`; since: when they began, where facts say so."""

    level: Level
    after_s: float
    reason: str
    since: datetime | None = None


class Finding(NamedTuple):
    """What the facts say of a key. calm: what is so when they claim nothing any more. stream_epoch: where it is of one
    epoch, which ends with it.
    """

    key: Key
    title: str
    claims: Sequence[Claim]
    advice: str
    calm: str
    stream_epoch: int | None = None


@dataclass(frozen=True)
class Standing:
    """A trouble, as it is kept from one look to the next.

    noticed_at: since when undated claims are made. eased_at, calm_at: since when red, and amber, is not reached.
    """

    trouble_id: int | None
    key: Key
    stream_epoch: int | None
    title: str
    level: Level
    reason: str
    advice: str
    since: datetime
    noticed_at: datetime | None = None
    eased_at: datetime | None = None
    calm_at: datetime | None = None
    ended_at: datetime | None = None


def worst(levels: Iterator[Level]) -> Level:
    """Return the worst of some levels; good when there are none."""
    return max(levels, key=RANK.__getitem__, default="good")


def lasting(seconds: float) -> str:
    """Return a length of time as people say it."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.3g} s"


def judge(standing: Standing | None, finding: Finding, now: datetime) -> Standing | None:
    """Return how a trouble stands now: open, ended just now, or None for nothing to keep in mind."""
    undated = any(claim.since is None for claim in finding.claims)
    noticed_at = ((standing and standing.noticed_at) or now) if undated else None
    reached = [each for each in finding.claims if _lasted(each, noticed_at, now) >= each.after_s]
    claim = max(reached, key=lambda each: RANK[each.level], default=None)
    claimed: Level = "good" if claim is None else claim.level
    eased_at = None if claimed == "act" else (standing and standing.eased_at) or now
    calm_at = None if claimed != "good" else (standing and standing.calm_at) or now
    level = claimed if standing is None else _held(standing, claimed, eased_at, calm_at, now)
    if level == "good" and not undated:
        return None if standing is None else replace(standing, ended_at=now)
    held = RANK[level] > RANK[claimed]
    return Standing(
        trouble_id=None if standing is None else standing.trouble_id,
        key=finding.key,
        stream_epoch=finding.stream_epoch,
        title=finding.title,
        level=level,
        reason=_holding(finding, claim, level) if held else (claim.reason if claim else finding.calm),
        advice=finding.advice,
        since=_since(standing, claim, noticed_at, now),
        noticed_at=noticed_at,
        eased_at=eased_at,
        calm_at=calm_at,
    )


def _lasted(claim: Claim, noticed_at: datetime | None, now: datetime) -> float:
    return (now - (claim.since or noticed_at or now)).total_seconds()


def _held(
    standing: Standing, claimed: Level, eased_at: datetime | None, calm_at: datetime | None, now: datetime
) -> Level:
    """The level that is claimed, or the worse one that is not left yet."""
    bound = BOUNDS[standing.key.signal]

    def within(since: datetime | None, hold_s: float) -> bool:
        return since is not None and (now - since).total_seconds() < hold_s

    if standing.level == "act" and within(eased_at, bound.leave_act_s):
        return "act"
    if standing.level != "good" and claimed == "good" and within(calm_at, bound.leave_watch_s):
        return "watch"
    return claimed


def _holding(finding: Finding, claim: Claim | None, level: Level) -> str:
    bound = BOUNDS[finding.key.signal]
    lasts = bound.leave_act_s if level == "act" else bound.leave_watch_s
    return f"{claim.reason if claim else finding.calm}; shown until that has lasted {lasting(lasts)}"


def _since(
    standing: Standing | None, claim: Claim | None, noticed_at: datetime | None, now: datetime
) -> datetime:
    """When a trouble began: it keeps that for as long as it is one."""
    if standing is not None and standing.level != "good":
        return standing.since
    return (claim and claim.since) or noticed_at or now


def advance(standings: Sequence[Standing], findings: Iterator[Finding], now: datetime) -> list[Standing]:
    """Return what has changed: troubles that are new, stand otherwise than before, or have ended."""
    before = {each.key: each for each in standings}
    changed: list[Standing] = []
    for finding in findings:
        standing = before.pop(finding.key, None)
        if standing is not None and standing.stream_epoch != finding.stream_epoch:
            changed.append(replace(standing, ended_at=now))
            standing = None
        after = judge(standing, finding, now)
        if after is not None and after != standing:
            changed.append(after)
    return changed + [replace(each, ended_at=now) for each in before.values()]
