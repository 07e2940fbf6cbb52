"""A receiver that is connected does not keep up with a stream that it follows."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.alerts.conditions import Bound, Condition, Finding, Key, Owner, lasting
from api.alerts.rule import Rule, each, levels, rows

__all__ = ["FLOWS", "RULE", "FlowFacts", "flows"]

BOUND = Bound.holding(5, 30)
BEHIND_WATCH = 100

# But for late events of older epochs, the oldest that is not acked is as far from the end as its receiver is behind. A
# thousand receivers that have everything are not worth a row each, only those of which something else was said last.
FLOWS = """
SELECT flow.receiver_id, flow.stream_id,
       'receiver ' || flow.receiver_id || ' ← '
           || stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS title,
       flow.behind, oldest.received_at AS oldest_at
FROM receiver_streams AS flow JOIN streams USING (stream_id)
LEFT JOIN LATERAL (
    SELECT received_at FROM events
    WHERE flow.behind > 0 AND events.stream_id = streams.stream_id AND position > last_position - flow.behind
    ORDER BY position LIMIT 1
) AS oldest ON true
WHERE flow.subscribed
  AND (flow.behind > 0
       OR (flow.receiver_id, flow.stream_id) IN (
           SELECT subject_id, stream_id FROM troubles WHERE signal = 'receiver_behind' AND ended_at IS NULL))
"""


class FlowFacts(NamedTuple):
    """What a connected receiver follows. oldest_at: when the oldest read came in that it has not acked."""

    receiver_id: str
    stream_id: UUID
    title: str
    behind: int
    oldest_at: datetime | None


flows = rows(FLOWS, FlowFacts)


def _finding(facts: FlowFacts) -> Finding:
    conditions = []
    if facts.behind and facts.oldest_at is not None:
        conditions = levels(BOUND, lambda after: f"behind by more than {lasting(after)}", facts.oldest_at)
    if facts.behind >= BEHIND_WATCH:
        conditions.append(Condition("watch", 0, f"behind by {BEHIND_WATCH} reads or more"))
    return Finding(
        Key("receiver_behind", "receiver", facts.receiver_id, facts.stream_id),
        facts.title,
        conditions,
        "It catches up by itself after a pause. If not, check the receiver's computer and network. Nothing is lost.",
        "caught up",
        owner=Owner("receiver", facts.receiver_id, f"receiver {facts.receiver_id}"),
    )


RULE = Rule(
    signal="receiver_behind",
    condition="behind",
    order=80,
    cause="receiver",
    bound=BOUND,
    source=flows,
    findings=each(_finding),
    coalesces=True,
)
