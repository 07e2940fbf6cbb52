"""The states of the dashboard: what is amber (watch) and what is red (act), why, since when, and what to do about it.

Pure: facts and the clock come in as arguments, a new standing of each trouble comes out. It knows no table and no
message. BOUNDS is the one place where the bounds stand; page, API, metrics and alerts follow it.

Facts make *claims*: from here on this is amber, from there on red. A claim is dated where the facts say since when they
are so; where they do not, the standing remembers since when the claim has been made. A level is reached as soon as a
claim has lasted its time, and left only when no claim has reached it for twice the time of its bound, so that what
comes and goes stays in sight. What is not there any more (a stream, an epoch, a process that has left) ends at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from api import clocks, faults
from api.clocks import ClockFacts
from api.faults import FaultFacts

__all__ = [
    "BOUNDS",
    "UNPARSED_ACT_RATIO",
    "Bound",
    "Claim",
    "Facts",
    "Finding",
    "FlowFacts",
    "ForwarderFacts",
    "Key",
    "Level",
    "ProcessFacts",
    "ReceiverFacts",
    "Signal",
    "Standing",
    "StreamFacts",
    "SubjectKind",
    "advance",
    "find",
    "judge",
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
]
SubjectKind: TypeAlias = Literal["stream", "forwarder", "receiver", "process"]

_RANK: Mapping[Level, int] = {"good": 0, "watch": 1, "act": 2}
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


# dashboard.md, States. A receiver that is gone has the times of one that is behind. A conflict ends when a person has
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
}
GAPS_WATCH, GAPS_ACT = 3, 8
BEHIND_WATCH = 100
UNPARSED_ACT_RATIO = 0.01
# A process that starts or stops is not ready for a moment.
NOT_READY_S = 5.0


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
    return max(levels, key=_RANK.__getitem__, default="good")


# --- what facts claim ------------------------------------------------------------------------------------


class ForwarderFacts(NamedTuple):
    """gone_since: None while its session is live. has_reads: the current epoch of a stream of its has."""

    forwarder_id: str
    title: str
    gone_since: datetime | None
    has_reads: bool


class StreamFacts(NamedTuple):
    """A stream, in its current epoch. median_gap_s: between its newest reads, looked up when the last is old."""

    stream_id: UUID
    title: str
    stream_epoch: int
    online: bool
    last_received_at: datetime | None
    median_gap_s: float
    reads: int
    missing_count: int
    unparsed_count: int
    open_conflicts: int
    clock: ClockFacts


class FlowFacts(NamedTuple):
    """What a connected receiver follows. oldest_at: when the oldest read came in that it has not acked."""

    receiver_id: str
    stream_id: UUID
    title: str
    behind: int
    oldest_at: datetime | None


class ReceiverFacts(NamedTuple):
    """A receiver that followed so many streams and is gone."""

    receiver_id: str
    gone_since: datetime
    streams: int


class ProcessFacts(NamedTuple):
    """A process that nobody has replaced. lives: it holds its lease and its lock. problem: what is wrong, by its own
    word; a process that is ready may have one, too.
    """

    process_id: UUID
    title: str
    last_seen_at: datetime
    lives: bool
    ready: bool
    problem: str | None = None


class Facts(NamedTuple):
    """All that is looked at, of one moment."""

    forwarders: Sequence[ForwarderFacts]
    streams: Sequence[StreamFacts]
    flows: Sequence[FlowFacts]
    receivers: Sequence[ReceiverFacts]
    processes: Sequence[ProcessFacts]
    faults: Sequence[FaultFacts] = ()


def find(facts: Facts) -> Iterator[Finding]:
    """Yield what the facts say, one finding for each key that there is."""
    yield from map(_forwarder, facts.forwarders)
    yield from _faults(facts.faults)
    for stream in facts.streams:
        yield from (
            _last_read(stream),
            _missing(stream),
            _conflict(stream),
            _clock(stream),
            _unparsed(stream),
        )
    yield from map(_flow, facts.flows)
    yield from map(_receiver, facts.receivers)
    yield from map(_process, facts.processes)


def _forwarder(facts: ForwarderFacts) -> Finding:
    bound, since = BOUNDS["forwarder_gone"], facts.gone_since
    claims = []
    if since is not None:
        claims.append(Claim("watch", bound.watch_s, "not connected", since))
    if since is not None and facts.has_reads:
        claims.append(Claim("act", bound.act_s, "not connected, and its mat was in use", since))
    return Finding(
        Key("forwarder_gone", "forwarder", facts.forwarder_id),
        facts.title,
        claims,
        "Check its power and its network; send somebody to the mat. It keeps its reads and sends them when it is back. "
        "If it is not used any more, revoke its token.",
        "connected again",
    )


def _faults(facts: Sequence[FaultFacts]) -> Iterator[Finding]:
    """Of several faults of a forwarder the worst is told; it ends when its gateway says so, or says no more of it."""
    found: dict[str, Finding] = {}
    for fault in facts:
        level, reason, advice = faults.judged(fault)
        known = found.get(fault.forwarder_id)
        if known is None or _RANK[level] > _RANK[known.claims[0].level]:
            key = Key("forwarder_fault", "forwarder", fault.forwarder_id)
            claims = [Claim(level, 0, reason, fault.since)]
            found[fault.forwarder_id] = Finding(key, fault.title, claims, advice, "sends what is right")
    yield from found.values()


def _last_read(facts: StreamFacts) -> Finding:
    bound, since, gap = BOUNDS["last_read"], facts.last_received_at, facts.median_gap_s
    claims = []
    # Without its forwarder nothing can come: that is its trouble.
    if since is not None and facts.online:
        usual = f"; usually {_as_often(gap)}" if gap else ""
        watch, act = max(bound.watch_s, GAPS_WATCH * gap), max(bound.act_s, GAPS_ACT * gap)
        claims = [
            Claim(level, after, f"no read for more than {_seconds(after)}{usual}", since)
            for level, after in _levels(watch, act)
        ]
    return _of_stream(
        facts,
        "last_read",
        claims,
        "Fine between waves and after the last runner; else check the reader, its antennas and its cable.",
        "reads come again" if facts.online else "its forwarder is gone",
    )


def _missing(facts: StreamFacts) -> Finding:
    bound, count = BOUNDS["missing"], facts.missing_count
    reason = f"{count:,} {_plural('read', count)} missing by the forwarder's own numbers"
    claims = [
        Claim(level, after, reason) for level, after in _levels(bound.watch_s, bound.act_s) if count > 0
    ]
    return _of_stream(
        facts,
        "missing",
        claims,
        "If they do not come by themselves, restart the forwarder: it sends again what was not acknowledged. "
        "The stream's page lists which are missing.",
        "0 missing",
    )


def _conflict(facts: StreamFacts) -> Finding:
    count = facts.open_conflicts
    reason = f"{count:,} {_plural('line', count)} under {'numbers' if count > 1 else 'a number'} that other lines have"
    return _of_stream(
        facts,
        "conflict",
        [Claim("act", 0, reason)] if count else [],
        "See both lines under Conflicts; both are kept. A forwarder has lost its journal or its card. Acknowledge "
        "them when you have decided.",
        "acknowledged",
    )


def _clock(facts: StreamFacts) -> Finding:
    # Without its forwarder nothing is heard of it: what was so stays on the card, and nobody can mend it from here.
    claims = [Claim(level, 0, reason) for level, reason in clocks.judged(facts.clock)] if facts.online else []
    return _of_stream(
        facts,
        "clock",
        claims,
        "Set the reader's clock, and note when: times read until then are off by as much. Where the zone is not known, "
        "set TIME_ZONE.",
        clocks.calm(facts.clock) if facts.online else "its forwarder is gone",
    )


def _unparsed(facts: StreamFacts) -> Finding:
    count = facts.unparsed_count
    claims = []
    if count:
        reason = f"{count:,} {_plural('line', count)} that {'are' if count > 1 else 'is'} no chip read"
        too_many = count > UNPARSED_ACT_RATIO * facts.reads
        claims.append(Claim("act" if too_many else "watch", 0, reason))
    return _of_stream(
        facts,
        "unparsed",
        claims,
        "They are stored as they came. Check the reader's output format, and the cable between reader and forwarder.",
        "every line is a chip read",
    )


def _flow(facts: FlowFacts) -> Finding:
    bound = BOUNDS["receiver_behind"]
    claims = []
    if facts.behind and facts.oldest_at is not None:
        claims = [
            Claim(level, after, f"behind by more than {_seconds(after)}", facts.oldest_at)
            for level, after in _levels(bound.watch_s, bound.act_s)
        ]
    if facts.behind >= BEHIND_WATCH:
        claims.append(Claim("watch", 0, f"behind by {BEHIND_WATCH} reads or more"))
    return Finding(
        Key("receiver_behind", "receiver", facts.receiver_id, facts.stream_id),
        facts.title,
        claims,
        "It catches up by itself after a pause. If not, check the receiver's computer and network. Nothing is lost.",
        "caught up",
    )


def _receiver(facts: ReceiverFacts) -> Finding:
    bound = BOUNDS["receiver_gone"]
    reason = f"not connected, was following {facts.streams} {_plural('stream', facts.streams)}"
    return Finding(
        Key("receiver_gone", "receiver", facts.receiver_id),
        f"receiver {facts.receiver_id}",
        [
            Claim(level, after, reason, facts.gone_since)
            for level, after in _levels(bound.watch_s, bound.act_s)
        ],
        "Start it again; it goes on where it was. If it is not wanted any more, delete its cursors.",
        "connected again",
    )


def _process(facts: ProcessFacts) -> Finding:
    bound = BOUNDS["process"]
    claims = [
        Claim(level, after, f"no heartbeat for {_seconds(after)}", facts.last_seen_at)
        for level, after in _levels(bound.watch_s, bound.act_s)
    ]
    # While it starts or stops it is not ready for a moment, and says so.
    if facts.lives and facts.ready and facts.problem is not None:
        claims.append(Claim("watch", 0, facts.problem))
    if facts.lives and not facts.ready:
        why = f": {facts.problem}" if facts.problem else ""
        claims.append(Claim("act", NOT_READY_S, f"runs but is not ready{why}"))
    return Finding(
        Key("process", "process", str(facts.process_id)),
        facts.title,
        claims,
        "Mend what it says; its log says more. What waits is stored then, nothing is lost."
        if facts.lives and facts.problem
        else "The others have taken over. If it is not started again by itself, start it; its /readyz and its log say "
        "why.",
        "runs",
    )


def _of_stream(
    facts: StreamFacts, signal: Signal, claims: Sequence[Claim], advice: str, calm: str
) -> Finding:
    # Conflicts are the whole stream's: a new epoch does not settle them.
    epoch = None if signal in ("conflict", "clock") else facts.stream_epoch
    key = Key(signal, "stream", str(facts.stream_id), facts.stream_id)
    return Finding(key, facts.title, claims, advice, calm, epoch)


def _levels(watch: float, act: float) -> tuple[tuple[Level, float], ...]:
    return ("watch", watch), ("act", act)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _as_often(gap_s: float) -> str:
    return f"one comes every {_seconds(gap_s)}" if gap_s >= 1 else "several come every second"


def _seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.3g} s"


# --- what becomes of it ----------------------------------------------------------------------------------


def judge(standing: Standing | None, finding: Finding, now: datetime) -> Standing | None:
    """Return how a trouble stands now: open, ended just now, or None for nothing to keep in mind."""
    undated = any(claim.since is None for claim in finding.claims)
    noticed_at = ((standing and standing.noticed_at) or now) if undated else None
    reached = [each for each in finding.claims if _lasted(each, noticed_at, now) >= each.after_s]
    claim = max(reached, key=lambda each: _RANK[each.level], default=None)
    claimed: Level = "good" if claim is None else claim.level
    eased_at = None if claimed == "act" else (standing and standing.eased_at) or now
    calm_at = None if claimed != "good" else (standing and standing.calm_at) or now
    level = claimed if standing is None else _held(standing, claimed, eased_at, calm_at, now)
    if level == "good" and not undated:
        return None if standing is None else replace(standing, ended_at=now)
    held = _RANK[level] > _RANK[claimed]
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
    return f"{claim.reason if claim else finding.calm}; shown until that has lasted {_seconds(lasts)}"


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
