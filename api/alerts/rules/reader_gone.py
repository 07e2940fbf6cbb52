"""A forwarder that is connected has lost its reader: nothing that passes the mat is read, or reaches us.

Only where the forwarder says so. Older ones say nothing of their readers, and theirs are told by reads that stop.
"""

from api.alerts.conditions import Bound, Condition, Finding
from api.alerts.rule import Rule, each
from api.alerts.stream_facts import StreamFacts, of_stream, streams

__all__ = ["RULE"]

# A link that is made anew, as operators can have it, is there again within these.
BOUND = Bound.holding(5, 5)


def _finding(facts: StreamFacts) -> Finding:
    lost = facts.online and not facts.reader_connected and not facts.closed
    reason = "reader not connected to its forwarder, which is connected"
    return of_stream(
        "reader_gone",
        facts,
        [Condition("watch", BOUND.watch_s, reason)] if lost else [],
        "Check the reader's power, and the cable between it and its forwarder. Whether it keeps reads in its own "
        "memory meanwhile stands on the stream's page.",
        _heard_of(facts),
        # A reset of the epoch plugs nothing in.
        outlives_epoch=True,
    )


def _heard_of(facts: StreamFacts) -> str:
    if facts.closed:
        return "closed"
    return "reader connected again" if facts.online else "its forwarder is gone"


RULE = Rule(
    signal="reader_gone",
    condition="reader not connected",
    order=25,
    cause="reader",
    bound=BOUND,
    source=streams,
    wanted="now.online AND NOT now.reader_connected AND closed.stream_id IS NULL",
    findings=each(_finding),
    actions=("open_stream",),
    coalesces=True,
)
