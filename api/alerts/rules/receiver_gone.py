"""A receiver that followed streams is not connected any more."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from api.alerts.conditions import Bound, Finding, Key
from api.alerts.rule import Rule, each, levels, plural
from shared.db.connections import Connection

__all__ = ["RULE", "ReceiverFacts", "receivers"]

# The times of a receiver that is behind.
BOUND = Bound.holding(5, 30)

# Live sessions say who follows what. A receiver that is connected and follows a stream no more has chosen so; one that
# has no session is missed, for a day, or until its cursors are deleted or its last token is revoked.
_NOTE_SUBSCRIPTIONS = """
WITH sessions AS MATERIALIZED (SELECT receiver_id, stream_ids FROM live_receiver_sessions),
live AS MATERIALIZED (SELECT DISTINCT receiver_id, unnest(stream_ids) AS stream_id FROM sessions),
noted AS (
    INSERT INTO subscriptions AS known (receiver_id, stream_id)
    SELECT receiver_id, stream_id FROM live
    -- What is known is not touched: a conflict would lock, and so write, every row at every look.
    WHERE NOT EXISTS (SELECT FROM subscriptions AS same
                      WHERE same.receiver_id = live.receiver_id AND same.stream_id = live.stream_id
                        AND same.gone_since IS NULL)
    ON CONFLICT (receiver_id, stream_id) DO UPDATE SET gone_since = NULL WHERE known.gone_since IS NOT NULL
),
forgotten AS (
    DELETE FROM subscriptions AS known
    WHERE (known.receiver_id IN (SELECT receiver_id FROM sessions)
           AND NOT EXISTS (SELECT FROM live WHERE live.receiver_id = known.receiver_id
                                              AND live.stream_id = known.stream_id))
       OR known.gone_since < now() - interval '1 day'
       OR NOT EXISTS (SELECT FROM streams WHERE streams.stream_id = known.stream_id)
       OR (known.gone_since IS NOT NULL AND retired('receiver', known.receiver_id))
)
UPDATE subscriptions SET gone_since = now()
WHERE gone_since IS NULL AND receiver_id NOT IN (SELECT receiver_id FROM sessions)
"""
_RECEIVERS = """
SELECT receiver_id, min(gone_since) AS gone_since, count(*) AS streams
FROM subscriptions WHERE gone_since IS NOT NULL
GROUP BY receiver_id
"""


class ReceiverFacts(NamedTuple):
    """A receiver that followed so many streams and is gone."""

    receiver_id: str
    gone_since: datetime
    streams: int


async def receivers(connection: Connection, _wanted: Sequence[str]) -> Sequence[ReceiverFacts]:
    """Remember who follows what, and since when a follower is gone; return those that are."""
    # In two statements: one would not see what it has itself noted.
    await connection.execute(_NOTE_SUBSCRIPTIONS)
    return [ReceiverFacts(**row) for row in await connection.fetch(_RECEIVERS)]


def _finding(facts: ReceiverFacts) -> Finding:
    reason = f"not connected, was following {facts.streams} {plural('stream', facts.streams)}"
    return Finding(
        Key("receiver_gone", "receiver", facts.receiver_id),
        f"receiver {facts.receiver_id}",
        levels(BOUND, lambda _: reason, facts.gone_since),
        "Start it again; it goes on where it was. If it is not wanted any more, delete its cursors.",
        "connected again",
    )


RULE = Rule(
    signal="receiver_gone",
    condition="not connected",
    order=90,
    cause="receiver",
    bound=BOUND,
    source=receivers,
    findings=each(_finding),
    actions=("delete_cursors",),
)
