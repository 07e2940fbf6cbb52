"""Reads of a stream have stopped, for longer than they usually do."""

from api.alerts.conditions import Bound, Condition, Finding, lasting
from api.alerts.rule import Rule, each, levels
from api.alerts.stream_facts import StreamFacts, of_stream, streams

__all__ = ["RULE"]

BOUND = Bound.holding(20, 45)
GAPS_WATCH, GAPS_ACT = 3, 8
# Reads come as runners do, not as a clock ticks: of evenly random gaps the median says too little of the long ones.
LONGEST_WATCH, LONGEST_ACT = 2, 4


def _finding(facts: StreamFacts) -> Finding:
    return of_stream(
        "last_read",
        facts,
        _conditions(facts),
        "Fine between waves; after the last runner close the stream. Else check the reader, its antennas and its "
        "cable.",
        _heard_of(facts),
    )


def _conditions(facts: StreamFacts) -> list[Condition]:
    since, gap, longest = facts.last_received_at, facts.median_gap_s, facts.longest_gap_s
    # Without its forwarder nothing can come: that is what is wrong with it. Of a closed stream nothing is expected,
    # and at a point of a race who is due says what is (silent_mat.py).
    if since is None or not facts.online or facts.closed or facts.at_point:
        return []
    usual = f"; usually {_as_often(gap)}" if gap else ""
    bound = BOUND._replace(
        watch_s=max(BOUND.watch_s, GAPS_WATCH * gap, LONGEST_WATCH * longest),
        act_s=max(BOUND.act_s, GAPS_ACT * gap, LONGEST_ACT * longest),
    )
    return levels(bound, lambda after: f"no read for more than {lasting(after)}{usual}", since)


def _heard_of(facts: StreamFacts) -> str:
    if facts.closed:
        return "closed"
    if facts.at_point:
        return "at a point of a race: what is due there counts"
    return "reads come again" if facts.online else "its forwarder is gone"


def _as_often(gap_s: float) -> str:
    return f"one comes every {lasting(gap_s)}" if gap_s >= 1 else "several come every second"


RULE = Rule(
    signal="last_read",
    condition="no reads",
    order=30,
    cause="reader",
    bound=BOUND,
    source=streams,
    wanted="now.online AND NOT now.at_point AND closed.stream_id IS NULL "
    f"AND now.last_received_at <= now() - make_interval(secs => {BOUND.watch_s})",
    findings=each(_finding),
    actions=("close_stream",),
    coalesces=True,
)
