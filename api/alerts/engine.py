"""What becomes of conditions: alerts, as they stand from one look to the next.

Pure: findings and the clock come in as arguments, a new state of each alert comes out. How long each signal stays
stands with its rule (api/alerts/rules/).

A condition is dated where the facts say since when they are so; where they do not, its state remembers since when the
condition has held. A level is reached as soon as a condition has lasted its time, and left only when none has reached
it for twice the time of its bound, so that what comes and goes stays in sight. What is not there any more (a stream, an
epoch, a process that has left) ends at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from api.alerts.cause import cause_of
from api.alerts.conditions import RANK, Condition, Finding, Key, Level, lasting
from api.alerts.rules import BOUNDS

__all__ = ["AlertState", "advance", "judge", "worst"]


@dataclass(frozen=True)
class AlertState:
    """An alert, as it is kept from one look to the next.

    cause: what it has in common with others (cause.py); None of one that the release before has begun. noticed_at:
    since when undated conditions hold. eased_at, calm_at: since when red, and amber, is not reached.
    """

    trouble_id: int | None
    key: Key
    stream_epoch: int | None
    title: str
    level: Level
    reason: str
    advice: str
    since: datetime
    cause: str | None = None
    noticed_at: datetime | None = None
    eased_at: datetime | None = None
    calm_at: datetime | None = None
    ended_at: datetime | None = None


def worst(levels: Iterator[Level]) -> Level:
    """Return the worst of some levels; good when there are none."""
    return max(levels, key=RANK.__getitem__, default="good")


def judge(state: AlertState | None, finding: Finding, now: datetime) -> AlertState | None:
    """Return how an alert stands now: open, ended just now, or None for nothing to keep in mind."""
    undated = any(condition.since is None for condition in finding.conditions)
    noticed_at = ((state and state.noticed_at) or now) if undated else None
    reached = [each for each in finding.conditions if _lasted(each, noticed_at, now) >= each.after_s]
    condition = max(reached, key=lambda each: RANK[each.level], default=None)
    indicated: Level = "good" if condition is None else condition.level
    eased_at = None if indicated == "act" else (state and state.eased_at) or now
    calm_at = None if indicated != "good" else (state and state.calm_at) or now
    level = indicated if state is None else _held(state, indicated, eased_at, calm_at, now)
    if level == "good" and not undated:
        return None if state is None else replace(state, ended_at=now)
    held = RANK[level] > RANK[indicated]
    return AlertState(
        trouble_id=None if state is None else state.trouble_id,
        key=finding.key,
        stream_epoch=finding.stream_epoch,
        title=finding.title,
        level=level,
        reason=_holding(finding, condition, level)
        if held
        else (condition.reason if condition else finding.cleared),
        advice=finding.advice,
        since=_since(state, condition, noticed_at, now),
        cause=cause_of(finding),
        noticed_at=noticed_at,
        eased_at=eased_at,
        calm_at=calm_at,
    )


def _lasted(condition: Condition, noticed_at: datetime | None, now: datetime) -> float:
    return (now - (condition.since or noticed_at or now)).total_seconds()


def _held(
    state: AlertState, indicated: Level, eased_at: datetime | None, calm_at: datetime | None, now: datetime
) -> Level:
    """The level that the conditions say, or the worse one that is not left yet."""
    bound = BOUNDS[state.key.signal]

    def within(since: datetime | None, hold_s: float) -> bool:
        return since is not None and (now - since).total_seconds() < hold_s

    if state.level == "act" and within(eased_at, bound.leave_act_s):
        return "act"
    if state.level != "good" and indicated == "good" and within(calm_at, bound.leave_watch_s):
        return "watch"
    return indicated


def _holding(finding: Finding, condition: Condition | None, level: Level) -> str:
    bound = BOUNDS[finding.key.signal]
    lasts = bound.leave_act_s if level == "act" else bound.leave_watch_s
    return (
        f"{condition.reason if condition else finding.cleared}; shown until that has lasted {lasting(lasts)}"
    )


def _since(
    state: AlertState | None, condition: Condition | None, noticed_at: datetime | None, now: datetime
) -> datetime:
    """When an alert began: it keeps that for as long as it is one."""
    if state is not None and state.level != "good":
        return state.since
    return (condition and condition.since) or noticed_at or now


def advance(states: Sequence[AlertState], findings: Iterator[Finding], now: datetime) -> list[AlertState]:
    """Return what has changed: alerts that are new, stand otherwise than before, or have ended."""
    before = {each.key: each for each in states}
    changed: list[AlertState] = []
    for finding in findings:
        state = before.pop(finding.key, None)
        if state is not None and state.stream_epoch != finding.stream_epoch:
            changed.append(replace(state, ended_at=now))
            state = None
        after = judge(state, finding, now)
        if after is not None and after != state:
            changed.append(after)
    return changed + [replace(each, ended_at=now) for each in before.values()]
