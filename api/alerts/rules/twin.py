"""One of several mats of a point sees less than its twin: of the chips that came last by either."""

from typing import NamedTuple
from uuid import UUID

from api.alerts.conditions import Bound, Condition, Finding, Key, Owner
from api.alerts.rule import Rule, each, rows
from api.mats.store.kept import LOOKED_LATELY
from api.mats.twins import sees_less

__all__ = ["RULE", "TWINS", "TwinFacts", "twins"]

TWINS = f"""
SELECT share.stream_id, point.title AS point, seen, best, chips, point.closed OR closed.stream_id IS NOT NULL AS closed,
       stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS title, forwarder_id,
       forwarder_title(forwarder_id, forwarder_display_name, forwarder_display_name IN (SELECT * FROM shared_names()))
           AS forwarder_title,
       forwarder_id IN (SELECT forwarder_id FROM live_forwarder_sessions) AS online
FROM mat_shares AS share
JOIN point_watches AS point USING (race_id, place)
JOIN streams USING (stream_id)
LEFT JOIN closed_streams AS closed USING (stream_id)
WHERE point.{LOOKED_LATELY}
  AND (seen < best
       OR stream_id IN (SELECT stream_id FROM troubles
                        WHERE subject_kind = 'stream' AND signal = 'twin' AND ended_at IS NULL))
"""  # noqa: S608 - of constants only


class TwinFacts(NamedTuple):
    """A mat that has seen less of the chips that came last at its point than the best of its twins."""

    stream_id: UUID
    point: str
    seen: int
    best: int
    chips: int
    closed: bool
    title: str
    forwarder_id: str
    forwarder_title: str
    online: bool


twins = rows(TWINS, TwinFacts)


def _finding(facts: TwinFacts) -> Finding:
    conditions = []
    # A mat without its forwarder has its reads there still.
    if facts.online and not facts.closed and sees_less(facts.seen, facts.best, chips=facts.chips):
        words = (
            f"has seen {facts.seen} of the last {facts.chips} chips at {facts.point}, its twin {facts.best}"
        )
        conditions = [Condition("watch", 0, words)]
    return Finding(
        Key("twin", "stream", str(facts.stream_id), facts.stream_id),
        facts.title,
        conditions,
        "Check its antennas and its cable. If it is not used, close the stream.",
        "sees what its twin sees" if facts.online else "its forwarder is gone",
        owner=Owner("forwarder", facts.forwarder_id, facts.forwarder_title),
    )


RULE = Rule(
    signal="twin",
    condition="sees less than its twin",
    order=35,
    bound=Bound.holding(0, 0),
    source=twins,
    findings=each(_finding),
    actions=("close_stream",),
    coalesces=True,
)
