"""The states of the dashboard: what is amber (watch) and what is red (act), why, and what to do about it.

Pure: facts come in as arguments, findings come out, with conditions: from here on this is amber, from there on red.
What becomes of them is in engine.py. It knows no table and no message.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.alerts import clocks, faults
from api.alerts.clocks import ClockFacts
from api.alerts.coalesce import Owner, coalesced
from api.alerts.engine import BOUNDS, RANK, AlertState, Condition, Finding, Key, Level, Signal, lasting
from api.alerts.faults import FaultFacts
from api.storage import rules as storage
from api.storage.rules import StorageFacts

__all__ = [
    "DATABASE",
    "UNPARSED_ACT_RATIO",
    "Facts",
    "FlowFacts",
    "ForwarderFacts",
    "ProcessFacts",
    "ReceiverFacts",
    "StreamFacts",
    "find",
]

GAPS_WATCH, GAPS_ACT = 3, 8
# Reads come as runners do, not as a clock ticks: of evenly random gaps the median says too little of the long ones.
LONGEST_WATCH, LONGEST_ACT = 2, 4
BEHIND_WATCH = 100
UNPARSED_ACT_RATIO = 0.01
# A process that starts or stops is not ready for a moment.
NOT_READY_S = 5.0


DATABASE = Key("database", "database", "database")


class ForwarderFacts(NamedTuple):
    """gone_since: None while its session is live. has_reads: the current epoch of an open stream of its has. closed:
    all of its streams are: nobody waits for it.
    """

    forwarder_id: str
    title: str
    gone_since: datetime | None
    has_reads: bool
    closed: bool = False


class StreamFacts(NamedTuple):
    """A stream, in its current epoch. median_gap_s, longest_gap_s: between its newest reads. closed: nobody expects a
    read of it.
    """

    stream_id: UUID
    title: str
    owner: Owner
    stream_epoch: int
    online: bool
    last_received_at: datetime | None
    median_gap_s: float
    reads: int
    missing_count: int
    unparsed_count: int
    open_conflicts: int
    clock: ClockFacts
    longest_gap_s: float = 0
    closed: bool = False


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
    """All that is looked at, of one moment. streams: of which something may be said, or something was."""

    forwarders: Sequence[ForwarderFacts]
    streams: Sequence[StreamFacts]
    flows: Sequence[FlowFacts]
    receivers: Sequence[ReceiverFacts]
    processes: Sequence[ProcessFacts]
    faults: Sequence[FaultFacts] = ()
    storage: StorageFacts | None = None


def find(facts: Facts, states: Sequence[AlertState]) -> Iterator[Finding]:
    """Yield what the facts say, one finding for each key that there is; of many streams of one forwarder one, where
    they say the same, and of many that one receiver follows. states: the alerts that are open at the moment.
    """
    yield from map(_forwarder, facts.forwarders)
    yield from _faults(facts.faults)
    yield from coalesced(_of_streams(facts), states)
    yield from map(_receiver, facts.receivers)
    yield from map(_process, facts.processes)
    if facts.storage is not None:
        yield _database(facts.storage)


def _of_streams(facts: Facts) -> Iterator[tuple[Owner, Finding]]:
    for stream in facts.streams:
        for finding in (_last_read, _missing, _conflict, _clock, _unparsed):
            yield stream.owner, finding(stream)
    for flow in facts.flows:
        yield Owner("receiver", flow.receiver_id, f"receiver {flow.receiver_id}"), _flow(flow)


def _forwarder(facts: ForwarderFacts) -> Finding:
    bound, since = BOUNDS["forwarder_gone"], None if facts.closed else facts.gone_since
    conditions = []
    if since is not None:
        conditions.append(Condition("watch", bound.watch_s, "not connected", since))
    if since is not None and facts.has_reads:
        conditions.append(Condition("act", bound.act_s, "not connected, and its mat was in use", since))
    return Finding(
        Key("forwarder_gone", "forwarder", facts.forwarder_id),
        facts.title,
        conditions,
        "Check its power and its network; send somebody to the mat. It keeps its reads and sends them when it is back. "
        "If its mats are taken down, close its streams. If it is not used any more, revoke its tokens.",
        "its streams are closed" if facts.closed else "connected again",
    )


def _faults(facts: Sequence[FaultFacts]) -> Iterator[Finding]:
    """Of several faults of a forwarder the worst is told; it ends when its gateway says so, or says no more of it."""
    found: dict[str, Finding] = {}
    for fault in facts:
        level, reason, advice = faults.judged(fault)
        known = found.get(fault.forwarder_id)
        if known is None or RANK[level] > RANK[known.conditions[0].level]:
            key = Key("forwarder_fault", "forwarder", fault.forwarder_id)
            conditions = [Condition(level, 0, reason, fault.since)]
            found[fault.forwarder_id] = Finding(key, fault.title, conditions, advice, "sends what is right")
    yield from found.values()


def _last_read(facts: StreamFacts) -> Finding:
    bound, since, gap = BOUNDS["last_read"], facts.last_received_at, facts.median_gap_s
    longest = facts.longest_gap_s
    conditions = []
    # Without its forwarder nothing can come: that is what is wrong with it. Of a closed stream nothing is expected.
    if since is not None and facts.online and not facts.closed:
        usual = f"; usually {_as_often(gap)}" if gap else ""
        watch = max(bound.watch_s, GAPS_WATCH * gap, LONGEST_WATCH * longest)
        act = max(bound.act_s, GAPS_ACT * gap, LONGEST_ACT * longest)
        conditions = [
            Condition(level, after, f"no read for more than {lasting(after)}{usual}", since)
            for level, after in _levels(watch, act)
        ]
    return _of_stream(
        facts,
        "last_read",
        conditions,
        "Fine between waves; after the last runner close the stream. Else check the reader, its antennas and its "
        "cable.",
        _heard_of(facts),
    )


def _heard_of(facts: StreamFacts) -> str:
    if facts.closed:
        return "closed"
    return "reads come again" if facts.online else "its forwarder is gone"


def _missing(facts: StreamFacts) -> Finding:
    bound, count = BOUNDS["missing"], facts.missing_count
    reason = f"{count:,} {_plural('read', count)} missing by the forwarder's own numbers"
    conditions = [
        Condition(level, after, reason) for level, after in _levels(bound.watch_s, bound.act_s) if count > 0
    ]
    return _of_stream(
        facts,
        "missing",
        conditions,
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
        [Condition("act", 0, reason)] if count else [],
        "See both lines under Conflicts; both are kept. A forwarder has lost its journal or its card. Acknowledge "
        "them when you have decided.",
        "acknowledged",
    )


def _clock(facts: StreamFacts) -> Finding:
    # Without its forwarder nothing is known of it: what was so stays on the card, and nobody can mend it from here.
    conditions = (
        [Condition(level, 0, reason) for level, reason in clocks.judged(facts.clock)] if facts.online else []
    )
    return _of_stream(
        facts,
        "clock",
        conditions,
        "Set the reader's clock, and note when: times read until then are off by as much. Where the zone is not known, "
        "set TIME_ZONE.",
        clocks.cleared(facts.clock) if facts.online else "its forwarder is gone",
    )


def _unparsed(facts: StreamFacts) -> Finding:
    count = facts.unparsed_count
    conditions = []
    if count:
        reason = f"{count:,} {_plural('line', count)} that {'are' if count > 1 else 'is'} no chip read"
        too_many = count > UNPARSED_ACT_RATIO * facts.reads
        conditions.append(Condition("act" if too_many else "watch", 0, reason))
    return _of_stream(
        facts,
        "unparsed",
        conditions,
        "They are stored as they came. Check the reader's output format, and the cable between reader and forwarder.",
        "every line is a chip read",
    )


def _flow(facts: FlowFacts) -> Finding:
    bound = BOUNDS["receiver_behind"]
    conditions = []
    if facts.behind and facts.oldest_at is not None:
        conditions = [
            Condition(level, after, f"behind by more than {lasting(after)}", facts.oldest_at)
            for level, after in _levels(bound.watch_s, bound.act_s)
        ]
    if facts.behind >= BEHIND_WATCH:
        conditions.append(Condition("watch", 0, f"behind by {BEHIND_WATCH} reads or more"))
    return Finding(
        Key("receiver_behind", "receiver", facts.receiver_id, facts.stream_id),
        facts.title,
        conditions,
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
            Condition(level, after, reason, facts.gone_since)
            for level, after in _levels(bound.watch_s, bound.act_s)
        ],
        "Start it again; it goes on where it was. If it is not wanted any more, delete its cursors.",
        "connected again",
    )


def _process(facts: ProcessFacts) -> Finding:
    bound = BOUNDS["process"]
    conditions = [
        Condition(level, after, f"no heartbeat for {lasting(after)}", facts.last_seen_at)
        for level, after in _levels(bound.watch_s, bound.act_s)
    ]
    # While it starts or stops it is not ready for a moment, and says so.
    if facts.lives and facts.ready and facts.problem is not None:
        conditions.append(Condition("watch", 0, facts.problem))
    if facts.lives and not facts.ready:
        why = f": {facts.problem}" if facts.problem else ""
        conditions.append(Condition("act", NOT_READY_S, f"runs but is not ready{why}"))
    return Finding(
        Key("process", "process", str(facts.process_id)),
        facts.title,
        conditions,
        "Mend what it says; its log says more. What waits is stored then, nothing is lost."
        if facts.lives and facts.problem
        else "The others have taken over. If it is not started again by itself, start it; its /readyz and its log say "
        "why.",
        "runs",
    )


def _database(facts: StorageFacts) -> Finding:
    said = storage.judged(facts)
    conditions = [] if said is None else [Condition(said[0], 0, said[1])]
    return Finding(DATABASE, "database", conditions, storage.ADVICE, "reads are stored")


def _of_stream(
    facts: StreamFacts, signal: Signal, conditions: Sequence[Condition], advice: str, cleared: str
) -> Finding:
    # Conflicts are the whole stream's: a new epoch does not settle them.
    epoch = None if signal in ("conflict", "clock") else facts.stream_epoch
    key = Key(signal, "stream", str(facts.stream_id), facts.stream_id)
    return Finding(key, facts.title, conditions, advice, cleared, epoch)


def _levels(watch: float, act: float) -> tuple[tuple[Level, float], ...]:
    return ("watch", watch), ("act", act)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _as_often(gap_s: float) -> str:
    return f"one comes every {lasting(gap_s)}" if gap_s >= 1 else "several come every second"
