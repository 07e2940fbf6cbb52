"""A signal that there is not, as the file of one: tests/api/test_signals.py puts it where the others are."""

from api.alerts.conditions import Bound, Condition, Finding
from api.alerts.rule import Rule, each
from api.alerts.stream_facts import StreamFacts, of_stream, streams

__all__ = ["RULE"]


def _finding(facts: StreamFacts) -> Finding:
    conditions = [Condition("watch", 0, f"numbered anew {facts.stream_epoch} times")]
    return of_stream(
        "made_up",
        facts,
        conditions if facts.stream_epoch >= 7 else [],
        "Look who does it.",
        "has its numbers",
    )


RULE = Rule(
    signal="made_up",
    condition="numbered anew",
    order=200,
    bound=Bound.holding(0, 0),
    source=streams,
    wanted="stream_epoch >= 7",
    findings=each(_finding),
    actions=("open_stream",),
    coalesces=True,
)
