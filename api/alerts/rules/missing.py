"""Reads of a stream are missing, by the numbers that its forwarder gives them."""

from api.alerts.conditions import Bound, Finding
from api.alerts.rule import Rule, each, levels, plural
from api.alerts.stream_facts import StreamFacts, of_stream, streams

__all__ = ["RULE"]

BOUND = Bound.holding(0, 60)


def _finding(facts: StreamFacts) -> Finding:
    count = facts.missing_count
    reason = f"{count:,} {plural('read', count)} missing by the forwarder's own numbers"
    return of_stream(
        "missing",
        facts,
        levels(BOUND, lambda _: reason) if count > 0 else [],
        "If they do not come by themselves, restart the forwarder: it sends again what was not acknowledged. "
        "The stream's page lists which are missing.",
        "0 missing",
    )


RULE = Rule(
    signal="missing",
    condition="missing reads",
    order=40,
    bound=BOUND,
    source=streams,
    wanted="epoch.last_seq > epoch.dedup_count",
    findings=each(_finding),
    actions=("restart_forwarder", "open_stream"),
    coalesces=True,
)
