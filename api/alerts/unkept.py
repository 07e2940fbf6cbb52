"""Alerts that nobody can keep, seen by the page itself: from facts that it has, by the rules that speak of them.

What a look at the states would find is kept in the database, and dated. Where the database takes nothing in, or where
nobody looks, the page shows what is so all the same: as bad as it is now, whatever it was at the last look. Pure.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from api.alerts.actions import actions
from api.alerts.cause import cause_of
from api.alerts.conditions import RANK, Finding, Key
from api.alerts.findings import Facts
from api.alerts.rules import RULES
from api.alerts.types import Alert

__all__ = ["with_unkept"]


def with_unkept(kept: Sequence[Alert], facts: Facts, now: datetime) -> list[Alert]:
    """Return the alerts with those that are worse now than what is kept of the same: these stand first."""
    found = {finding.key: finding for finding in _findings(facts, now)}
    known = {_key(alert): alert for alert in kept if alert.ended_at is None and _key(alert) in found}
    worse = {key: _alert(finding, known.get(key)) for key, finding in found.items()}
    shown = {key: alert for key, alert in worse.items() if RANK[alert.level] > _rank(known.get(key))}
    replaced = [known.get(key) for key in shown]
    return [*shown.values(), *(alert for alert in kept if alert not in replaced)]


def _findings(facts: Facts, now: datetime) -> Iterator[Finding]:
    for rule in RULES:
        if rule.unkept is not None:
            yield from filter(None, (rule.unkept(fact, now) for fact in facts.get(rule.source, ())))


def _rank(kept: Alert | None) -> int:
    # What was about to clear does not count, and would be about to for ever.
    return RANK["good" if kept is None or kept.quiet == "clearing" else kept.level]


def _key(alert: Alert) -> Key:
    return Key(alert.signal, alert.subject_kind, alert.subject_id, alert.stream_id)


def _alert(finding: Finding, kept: Alert | None) -> Alert:
    (condition,) = finding.conditions
    if condition.since is None:
        raise ValueError(f"a rule dates what no look at the states dates: {finding}")
    key = finding.key
    return Alert(
        trouble_id=0 if kept is None else kept.trouble_id,
        signal=key.signal,
        subject_kind=key.subject_kind,
        subject_id=key.subject_id,
        stream_id=key.stream_id,
        title=finding.title,
        level=condition.level,
        reason=condition.reason,
        advice=finding.advice,
        actions=actions(key.signal, key.subject_kind),
        since=condition.since,
        ended_at=None,
        duration_s=None,
        quiet=None,
        acknowledged=None,
        muted=None,
        cause=cause_of(finding),
    )
