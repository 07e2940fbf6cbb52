"""Facts that are well but for what a test says, and whoever looks at them second by second."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from api.alerts.conditions import Level, Owner
from api.alerts.engine import AlertState, advance
from api.alerts.findings import Facts, find
from api.alerts.rules.forwarder_gone import ForwarderFacts, forwarders
from api.alerts.rules.process import ProcessFacts, processes
from api.alerts.rules.receiver_behind import FlowFacts, flows
from api.alerts.rules.receiver_gone import ReceiverFacts, receivers
from api.alerts.stream_facts import ClockFacts, StreamFacts, streams

NOW = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)

STREAM = UUID(int=1)

PROCESS = UUID(int=2)

RANK = {"good": 0, "watch": 1, "act": 2}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stream(**facts: Any) -> Facts:
    """A stream that is well, but for what is given."""
    well = StreamFacts(
        stream_id=STREAM,
        title="Finish",
        owner=Owner("forwarder", "f", "Finish box"),
        stream_epoch=1,
        online=True,
        last_received_at=None,
        median_gap_s=0,
        reads=1000,
        missing_count=0,
        unparsed_count=0,
        open_conflicts=0,
        clock=ClockFacts(),
    )
    return {streams: [well._replace(**facts)]}


def many(count: int = 30, **facts: Any) -> Facts:
    """So many streams of one forwarder that are all alike."""
    ((one,),) = stream(**facts).values()
    return {streams: [one._replace(stream_id=UUID(int=1000 + n)) for n in range(count)]}


def forwarder(gone_s: float | None, *, has_reads: bool = True) -> Facts:
    gone_since = None if gone_s is None else at(-gone_s)
    return {forwarders: [ForwarderFacts("f", "Finish", gone_since, has_reads)]}


def flow(behind: int, oldest_s: float) -> Facts:
    return {flows: [FlowFacts("tent", STREAM, "tent ← Finish", behind, at(-oldest_s))]}


def receiver(gone_s: float) -> Facts:
    return {receivers: [ReceiverFacts("tent", at(-gone_s), 2)]}


def process(
    seen_s: float = 0.0, *, lives: bool = True, ready: bool = True, problem: str | None = None
) -> Facts:
    facts = ProcessFacts(PROCESS, "writer on here", at(-seen_s), lives, ready, problem)
    return {processes: [facts]}


def level_of(facts: Facts) -> Level:
    """The worst level that is reached at the first look."""
    states = advance([], find(facts, []), NOW)
    return max((each.level for each in states), key=RANK.__getitem__, default="good")


class Watch:
    """Looks at facts once a second and keeps what stands, as the evaluation does."""

    def __init__(self) -> None:
        self.states: list[AlertState] = []
        self.ended: list[AlertState] = []
        self.seconds = 0.0

    def look(self, facts: Facts, *, seconds: float = 1.0) -> Level:
        """Look at the same facts once a second; return the level at the last look."""
        for _ in range(int(seconds)):
            changed = advance(self.states, find(facts, self.states), at(self.seconds))
            self.seconds += 1
            self.ended += [each for each in changed if each.ended_at is not None]
            latest = {each.key: each for each in (*self.states, *changed)}
            self.states = [each for each in latest.values() if each.ended_at is None]
        return max((each.level for each in self.states), key=RANK.__getitem__, default="good")


def lapse(watch: Watch, facts: Facts, level: Level) -> int:
    """Return for how many seconds of looking at facts a level stays."""
    for seconds in range(1000):
        if watch.look(facts) != level:
            return seconds
    raise AssertionError("it stays for ever")
