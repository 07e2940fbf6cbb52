"""Many streams of one device with the same complaint are one alert, of the device. Pure.

A device decides how many streams it has; nobody reads a list of five thousand, keeps it, or sends it to each page every
second. So where MANY streams of a forwarder, or of those that a receiver follows, have the same condition, one finding
stands for them, dated by the first of them, until fewer than half as many are left: a count that wavers around the
bound does not make alerts come and go.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from api.alerts.conditions import Condition, Finding, Key, Level, Owner
from api.alerts.engine import AlertState

__all__ = ["MANY", "coalesced"]

# A receiver that is slow is slow in all that it follows: one cause.
MANY: Mapping[str, int] = {"forwarder": 20, "receiver": 2}
NAMED = 10
_FOREVER = datetime.max.replace(tzinfo=UTC) - timedelta(days=366)


def coalesced(findings: Iterable[Finding], states: Sequence[AlertState]) -> Iterator[Finding]:
    """Yield findings of streams, or what stands for many of them. All are of one signal, and so are states: its alerts
    that are open at the moment.
    """
    known = {each.key: each for each in states}
    groups: dict[Key, list[Finding]] = defaultdict(list)
    owners: dict[Key, Owner] = {}
    for finding in findings:
        owner = finding.owner
        if owner is not None and finding.conditions:
            key = Key(finding.key.signal, owner.kind, owner.device_id)
            groups[key].append(finding)
            owners[key] = owner
        # Of what is well and always was nothing is kept.
        elif finding.conditions or finding.key in known:
            yield finding
    for key, members in groups.items():
        most = MANY[key.subject_kind]
        if len(members) < (max(2, most // 2) if key in known else most):
            yield from members
        else:
            yield _of_all(key, owners[key], members, known)
    for key, state in known.items():
        # What it stood for is well again; the alert ends as any other does, some time later.
        if key.stream_id is None and key not in groups:
            yield Finding(key, state.title, [], state.advice, "its streams are well again")


def _of_all(key: Key, owner: Owner, members: Sequence[Finding], known: Mapping[Key, AlertState]) -> Finding:
    levels: tuple[Level, ...] = ("watch", "act")
    conditions = [
        condition for level in levels if (condition := _first(level, key, members, known)) is not None
    ]
    return Finding(key, owner.title, conditions, members[0].advice, "its streams are well again")


def _first(
    level: Level, key: Key, members: Sequence[Finding], known: Mapping[Key, AlertState]
) -> Condition | None:
    """Return the condition that reaches a level before all others, dated: where facts give no date, from when they were
    noticed, of whichever stream, before and since one finding stands for all.
    """

    def noticed(of: Key) -> datetime | None:
        state = known.get(of)
        return None if state is None else state.noticed_at or state.since

    def dated(member: Finding, condition: Condition) -> datetime | None:
        return condition.since or min(filter(None, (noticed(member.key), noticed(key))), default=None)

    found = [
        (condition, dated(member, condition), member.title)
        for member in members
        for condition in member.conditions
        if condition.level == level
    ]
    if not found:
        return None
    condition, since, title = min(
        found, key=lambda each: (each[1] or _FOREVER) + timedelta(seconds=each[0].after_s)
    )
    # Of two or three it is news which.
    which = f", {title}" if MANY[key.subject_kind] <= NAMED else ""
    return condition._replace(
        reason=f"{_or_more(len(members))} streams, the first{which}: {condition.reason}", since=since
    )


def _or_more(count: int) -> str:
    """Return a count that changes seldom: 7, 20 or more, 300 or more, 5,000 or more."""
    magnitude = 10 ** (len(str(count)) - 1)
    return f"{count // magnitude * magnitude:,}{' or more' if count >= 10 else ''}"
