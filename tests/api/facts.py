"""Facts of every kind at once, as tests make them up: by name. api/alerts/findings.py has them by their source."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from api.alerts import findings
from api.alerts.conditions import Finding
from api.alerts.engine import AlertState
from api.alerts.rules.database import database
from api.alerts.rules.forwarder_fault import FaultFacts, faults
from api.alerts.rules.forwarder_gone import ForwarderFacts, forwarders
from api.alerts.rules.process import ProcessFacts, processes
from api.alerts.rules.receiver_behind import FlowFacts, flows
from api.alerts.rules.receiver_gone import ReceiverFacts, receivers
from api.alerts.rules.ups import UpsFacts, batteries
from api.alerts.stream_facts import StreamFacts, streams
from api.storage.rules import StorageFacts

__all__ = [
    "Facts",
    "FaultFacts",
    "FlowFacts",
    "ForwarderFacts",
    "ProcessFacts",
    "ReceiverFacts",
    "StreamFacts",
    "UpsFacts",
    "find",
]


class Facts(NamedTuple):
    """All that is looked at, of one moment."""

    forwarders: Sequence[ForwarderFacts]
    streams: Sequence[StreamFacts]
    flows: Sequence[FlowFacts]
    receivers: Sequence[ReceiverFacts]
    processes: Sequence[ProcessFacts]
    faults: Sequence[FaultFacts] = ()
    storage: StorageFacts | None = None
    batteries: Sequence[UpsFacts] = ()


def find(facts: Facts, states: Sequence[AlertState]) -> Iterator[Finding]:
    """Yield what the rules say of them."""
    gathered: findings.Facts = {
        forwarders: facts.forwarders,
        streams: facts.streams,
        flows: facts.flows,
        receivers: facts.receivers,
        processes: facts.processes,
        faults: facts.faults,
        batteries: facts.batteries,
        database: [] if facts.storage is None else [facts.storage],
    }
    return findings.find(gathered, states)
