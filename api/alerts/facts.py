"""What the states are made of, and what is kept of them. All but the list of alerts is for the one process that looks
at the moment (api/alerts/evaluator.py), in one transaction.

No statement counts events, and none reads more of them than the newest hundred of a stream, by position.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from api.alerts import clocks
from api.alerts.clocks import ClockFacts
from api.alerts.coalesce import Owner
from api.alerts.engine import BOUNDS, AlertState, Key
from api.alerts.faults import FaultFacts
from api.alerts.rules import Facts, FlowFacts, ForwarderFacts, ProcessFacts, ReceiverFacts, StreamFacts
from api.storage.store import storage
from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["alert_states", "facts", "note_subscriptions", "take_turn", "write"]

# Whose turn it is: at most one process in $1 seconds. The others do not wait for its lock.
_TAKE_TURN = """
UPDATE evaluation SET evaluated_at = now()
WHERE only_row IN (
    SELECT only_row FROM evaluation WHERE evaluated_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED
)
RETURNING evaluated_at
"""

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

_FORWARDERS = """
WITH live AS MATERIALIZED (SELECT forwarder_id FROM live_forwarder_sessions)
SELECT session.forwarder_id,
       coalesce(nullif(owned.display_name, ''), nullif(session.display_name, ''), session.forwarder_id) AS title,
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
    GROUP BY forwarder_id
) AS owned USING (forwarder_id)
WHERE NOT retired('forwarder', session.forwarder_id)
"""

# Of the last five minutes: a device that is stuck comes again and again, and one that is gone is another signal.
_FAULTS = """
SELECT known.forwarder_id, known.fault, known.complaint, known.since,
       coalesce(
           (SELECT nullif(max(forwarder_display_name), '') FROM streams
            WHERE streams.forwarder_id = known.forwarder_id),
           known.forwarder_id) AS title
FROM forwarder_faults AS known
WHERE known.ended_at IS NULL AND known.last_at > now() - interval '5 minutes'
  AND NOT retired('forwarder', known.forwarder_id)
ORDER BY known.since
"""

# Only streams of which something may be said, or of which something was: a device has as many as it likes, and most of
# them are well. Whose last read is a week old is waited for no more: readers' addresses change over the years. Of
# conflicts no more than 1,000 are counted. $1: how old a last read is when it may be late; $2: how far off a clock is
# when it may be told.
_STREAMS = """
WITH live AS MATERIALIZED (SELECT forwarder_id FROM live_forwarder_sessions)
SELECT stream_id, stream_title(streams) AS title, forwarder_id,
       coalesce(nullif(forwarder_display_name, ''), forwarder_id) AS forwarder_title, stream_epoch, now.online,
       now.last_received_at, coalesce(sample.gap_s, 0)::float AS median_gap_s,
       coalesce(sample.longest_gap_s, 0)::float AS longest_gap_s, closed.stream_id IS NOT NULL AS closed,
       coalesce(epoch.dedup_count, 0) AS reads,
       coalesce(epoch.last_seq - epoch.dedup_count, 0) AS missing_count,
       coalesce(epoch.unparsed_count, 0) AS unparsed_count,
       conflicts.count AS open_conflicts,
       sample.clock_offset_ms, sample.clock_ahead_ms, coalesce(sample.clock_step_ms, 0) AS clock_step_ms,
       sample.clock_last_at AT TIME ZONE coalesce(sample.clock_zone, 'UTC')
           + sample.clock_ahead_ms * interval '1 millisecond' AS clock_shows
FROM streams
LEFT JOIN stream_metrics AS epoch USING (stream_id, stream_epoch)
LEFT JOIN stream_samples AS sample USING (stream_id)
LEFT JOIN closed_streams AS closed USING (stream_id)
CROSS JOIN LATERAL (
    SELECT forwarder_id IN (SELECT forwarder_id FROM live),
           CASE WHEN epoch.dedup_count > 0 AND epoch.last_received_at > now() - interval '7 days'
                THEN epoch.last_received_at END
) AS now(online, last_received_at)
CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT FROM integrity_conflicts AS conflict
        WHERE conflict.stream_id = streams.stream_id AND acknowledged_at IS NULL
        LIMIT 1000
    ) AS open
) AS conflicts(count)
WHERE (now.online AND closed.stream_id IS NULL AND now.last_received_at <= now() - make_interval(secs => $1))
   OR epoch.last_seq > epoch.dedup_count
   OR epoch.unparsed_count > 0
   OR conflicts.count > 0
   OR (now.online AND coalesce(abs(sample.clock_offset_ms) >= $2 OR sample.clock_step_ms <> 0,
                               sample.clock_ahead_ms IS NOT NULL))
   OR stream_id IN (SELECT stream_id FROM troubles WHERE subject_kind = 'stream' AND ended_at IS NULL)
"""

# But for late events of older epochs, the oldest that is not acked is as far from the end as its receiver is behind. A
# thousand receivers that have everything are not worth a row each, only those of which something else was said last.
_FLOWS = """
SELECT flow.receiver_id, flow.stream_id, 'receiver ' || flow.receiver_id || ' ← ' || stream_title(streams) AS title,
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
_RECEIVERS = """
SELECT receiver_id, min(gone_since) AS gone_since, count(*) AS streams
FROM subscriptions WHERE gone_since IS NOT NULL
GROUP BY receiver_id
"""
_PROCESSES = """
SELECT process_id, role || ' on ' || host AS title, last_seen_at, lives, ready, problem FROM expected_processes
"""

_STATES = """
SELECT trouble_id, signal, subject_kind, subject_id, stream_id, stream_epoch, title, level, reason, advice, since,
       noticed_at, eased_at, calm_at, ended_at
FROM troubles WHERE ended_at IS NULL
"""
# $1: alerts as a JSON array.
_GIVEN = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS given(
        trouble_id bigint, signal text, subject_kind text, subject_id text, stream_id uuid, stream_epoch bigint,
        title text, level text, reason text, advice text, since timestamptz, ended_at timestamptz,
        noticed_at timestamptz, eased_at timestamptz, calm_at timestamptz)
)
"""
_CHANGE = (
    _GIVEN
    + """
UPDATE troubles AS known
SET stream_epoch = given.stream_epoch, title = given.title, level = given.level, reason = given.reason,
    advice = given.advice, since = given.since, ended_at = given.ended_at, noticed_at = given.noticed_at,
    eased_at = given.eased_at, calm_at = given.calm_at
FROM given WHERE known.trouble_id = given.trouble_id
"""
)
_OPEN = (
    _GIVEN
    + """
INSERT INTO troubles (signal, subject_kind, subject_id, stream_id, stream_epoch, title, level, reason, advice, since,
                      noticed_at, eased_at, calm_at)
SELECT signal, subject_kind, subject_id, stream_id, stream_epoch, title, level, reason, advice, since, noticed_at,
       eased_at, calm_at
FROM given WHERE trouble_id IS NULL
"""
)
# What never was amber leaves no trace; of the rest the newest $1 are kept.
_FORGET_ALERTS = """
DELETE FROM troubles
WHERE ended_at IS NOT NULL
  AND (level = 'good'
       OR ended_at <= (SELECT ended_at FROM troubles WHERE ended_at IS NOT NULL
                      ORDER BY ended_at DESC OFFSET $1 LIMIT 1))
"""


_STREAMS_BOUNDS = BOUNDS["last_read"].watch_s, clocks.WATCH_MS


async def take_turn(connection: Connection, *, every_s: float) -> datetime | None:
    """Return the time when it is this transaction's turn to look, and None when another has looked, or is at it."""
    with translated():
        now: datetime | None = await connection.fetchval(_TAKE_TURN, every_s)
    return now


async def note_subscriptions(connection: Connection) -> None:
    """Remember who follows what, and since when a follower is gone."""
    with translated():
        await connection.execute(_NOTE_SUBSCRIPTIONS)


async def facts(connection: Connection) -> Facts:
    """Return all that the states are made of."""
    with translated():
        return Facts(
            forwarders=[ForwarderFacts(**row) for row in await connection.fetch(_FORWARDERS)],
            streams=[_stream(row) for row in await connection.fetch(_STREAMS, *_STREAMS_BOUNDS)],
            flows=[FlowFacts(**row) for row in await connection.fetch(_FLOWS)],
            receivers=[ReceiverFacts(**row) for row in await connection.fetch(_RECEIVERS)],
            processes=[ProcessFacts(**row) for row in await connection.fetch(_PROCESSES)],
            faults=[FaultFacts(**row) for row in await connection.fetch(_FAULTS)],
            storage=await storage(connection),
        )


async def alert_states(connection: Connection) -> list[AlertState]:
    """Return the alerts that have not ended, those that are only noticed included."""
    with translated():
        return [_state(row) for row in await connection.fetch(_STATES)]


async def write(connection: Connection, changed: Sequence[AlertState], *, kept: int) -> None:
    """Keep alerts as they stand now, and at most `kept` of those that have ended."""
    given = orjson.dumps([_given(each) for each in changed], default=str).decode()
    with translated():
        # What has ended makes room first for what begins under its key.
        await connection.execute(_CHANGE, given)
        await connection.execute(_OPEN, given)
        await connection.execute(_FORGET_ALERTS, kept)


def _stream(row: asyncpg.Record) -> StreamFacts:
    fields = dict(row)
    clock = ClockFacts(**{name: fields.pop(f"clock_{name}") for name in ClockFacts._fields})
    owner = Owner("forwarder", fields.pop("forwarder_id"), fields.pop("forwarder_title"))
    return StreamFacts(**fields, owner=owner, clock=clock)


def _state(row: asyncpg.Record) -> AlertState:
    fields = dict(row)
    key = Key(*(fields.pop(name) for name in ("signal", "subject_kind", "subject_id", "stream_id")))
    return AlertState(key=key, **fields)


def _given(state: AlertState) -> dict[str, Any]:
    def fields() -> Iterator[tuple[str, Any]]:
        yield from state.key._asdict().items()
        for name in state.__dataclass_fields__:
            if name != "key":
                yield name, getattr(state, name)

    return dict(fields())
