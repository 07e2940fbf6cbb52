"""A forwarder is not connected: its mat may be blind to us, though the forwarder itself keeps its reads."""

from datetime import datetime
from typing import NamedTuple

from api.alerts.conditions import Bound, Condition, Finding, Key
from api.alerts.rule import Rule, each, rows

__all__ = ["FORWARDERS", "RULE", "ForwarderFacts", "forwarders"]

BOUND = Bound.holding(15, 45)

FORWARDERS = """
WITH live AS MATERIALIZED (SELECT forwarder_id FROM live_forwarder_sessions)
SELECT session.forwarder_id,
       forwarder_title(session.forwarder_id, named.name, named.name IN (SELECT * FROM shared_names())) AS title,
       CASE WHEN session.forwarder_id NOT IN (SELECT forwarder_id FROM live)
            THEN coalesce(session.ended_at, gateway.last_seen_at, session.connected_at) END AS gone_since,
       coalesce(owned.has_reads, false) AS has_reads, coalesce(owned.closed, false) AS closed
FROM forwarder_sessions AS session
LEFT JOIN processes AS gateway ON gateway.process_id = session.gateway_id
LEFT JOIN (
    SELECT forwarder_id, max(forwarder_display_name) AS display_name,
           bool_or(epoch.dedup_count > 0 AND closed.stream_id IS NULL) AS has_reads,
           bool_and(closed.stream_id IS NOT NULL) AS closed
    FROM streams
    LEFT JOIN stream_metrics AS epoch USING (stream_id, stream_epoch)
    LEFT JOIN closed_streams AS closed USING (stream_id)
    WHERE NOT is_memory(reader_ip)
    GROUP BY forwarder_id
) AS owned USING (forwarder_id)
CROSS JOIN LATERAL (SELECT coalesce(nullif(owned.display_name, ''), session.display_name)) AS named(name)
WHERE NOT retired('forwarder', session.forwarder_id)
"""


class ForwarderFacts(NamedTuple):
    """gone_since: None while its session is live. has_reads: the current epoch of an open stream of its has. closed:
    all of its streams are: nobody waits for it.
    """

    forwarder_id: str
    title: str
    gone_since: datetime | None
    has_reads: bool
    closed: bool = False


forwarders = rows(FORWARDERS, ForwarderFacts)


def _finding(facts: ForwarderFacts) -> Finding:
    since = None if facts.closed else facts.gone_since
    conditions = []
    if since is not None:
        conditions.append(Condition("watch", BOUND.watch_s, "not connected", since))
    if since is not None and facts.has_reads:
        conditions.append(Condition("act", BOUND.act_s, "not connected, and its mat was in use", since))
    return Finding(
        Key("forwarder_gone", "forwarder", facts.forwarder_id),
        facts.title,
        conditions,
        "Check its power and its network; send somebody to the mat. It keeps its reads and sends them when it is back. "
        "If its mats are taken down, close its streams. If it is not used any more, revoke its tokens.",
        "its streams are closed" if facts.closed else "connected again",
    )


RULE = Rule(
    signal="forwarder_gone",
    condition="not connected",
    order=10,
    cause="forwarder",
    bound=BOUND,
    source=forwarders,
    findings=each(_finding),
    actions=("close_streams", "revoke_tokens"),
)
