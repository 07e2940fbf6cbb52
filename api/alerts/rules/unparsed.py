"""Lines of a stream are no chip reads."""

from api.alerts.conditions import Bound, Condition, Finding
from api.alerts.rule import Rule, each, plural
from api.alerts.stream_facts import StreamFacts, of_stream, streams

__all__ = ["RULE"]

ACT_RATIO = 0.01


def _finding(facts: StreamFacts) -> Finding:
    count = facts.unparsed_count
    conditions = []
    if count:
        reason = f"{count:,} {plural('line', count)} that {'are' if count > 1 else 'is'} no chip read"
        conditions.append(Condition("act" if count > ACT_RATIO * facts.reads else "watch", 0, reason))
    return of_stream(
        "unparsed",
        facts,
        conditions,
        "They are stored as they came. Check the reader's output format, and the cable between reader and forwarder.",
        "every line is a chip read",
    )


RULE = Rule(
    signal="unparsed",
    condition="lines that are no reads",
    order=70,
    bound=Bound.holding(0, 0),
    source=streams,
    wanted="epoch.unparsed_count > 0",
    findings=each(_finding),
    actions=("open_stream",),
    coalesces=True,
)
