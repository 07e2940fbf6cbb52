"""Lines of a stream came under numbers that other lines have."""

from api.alerts.conditions import Bound, Condition, Finding
from api.alerts.rule import Rule, each, plural
from api.alerts.stream_facts import StreamFacts, of_stream, streams

__all__ = ["RULE"]


def _finding(facts: StreamFacts) -> Finding:
    count = facts.open_conflicts
    reason = f"{count:,} {plural('line', count)} under {'numbers' if count > 1 else 'a number'} that other lines have"
    return of_stream(
        "conflict",
        facts,
        [Condition("act", 0, reason)] if count else [],
        "See both lines under Conflicts; both are kept. A forwarder has lost its journal or its card. Acknowledge "
        "them when you have decided.",
        "acknowledged",
        # Conflicts are the whole stream's: a new epoch does not settle them.
        outlives_epoch=True,
    )


RULE = Rule(
    signal="conflict",
    condition="conflicts",
    order=50,
    # It ends when a person has acknowledged it, and not some time later.
    bound=Bound(0, 0, 0, 0),
    source=streams,
    wanted="conflicts.count > 0",
    findings=each(_finding),
    actions=("open_conflicts",),
    coalesces=True,
)
