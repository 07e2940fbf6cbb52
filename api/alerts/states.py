"""Alerts as they are kept from one look to the next, and whose turn it is to look. For the one process that looks at
the moment (api/alerts/evaluator.py), in one transaction.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from api.alerts.conditions import Key
from api.alerts.engine import AlertState
from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["alert_states", "take_turn", "write"]

# Whose turn it is: at most one process in $1 seconds. The others do not wait for its lock.
_TAKE_TURN = """
UPDATE evaluation SET evaluated_at = now()
WHERE only_row IN (
    SELECT only_row FROM evaluation WHERE evaluated_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED
)
RETURNING evaluated_at
"""

_STATES = """
SELECT trouble_id, signal, subject_kind, subject_id, stream_id, stream_epoch, title, level, reason, advice, since,
       cause, noticed_at, eased_at, calm_at, ended_at
FROM troubles WHERE ended_at IS NULL
"""
# $1: alerts as a JSON array.
_GIVEN = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS given(
        trouble_id bigint, signal text, subject_kind text, subject_id text, stream_id uuid, stream_epoch bigint,
        title text, level text, reason text, advice text, since timestamptz, ended_at timestamptz,
        cause text, noticed_at timestamptz, eased_at timestamptz, calm_at timestamptz)
)
"""
_CHANGE = (
    _GIVEN
    + """
UPDATE troubles AS known
SET stream_epoch = given.stream_epoch, title = given.title, level = given.level, reason = given.reason,
    advice = given.advice, since = given.since, cause = given.cause, ended_at = given.ended_at,
    noticed_at = given.noticed_at, eased_at = given.eased_at, calm_at = given.calm_at
FROM given WHERE known.trouble_id = given.trouble_id
"""
)
_OPEN = (
    _GIVEN
    + """
INSERT INTO troubles (signal, subject_kind, subject_id, stream_id, stream_epoch, title, level, reason, advice, since,
                      cause, noticed_at, eased_at, calm_at)
SELECT signal, subject_kind, subject_id, stream_id, stream_epoch, title, level, reason, advice, since, cause,
       noticed_at, eased_at, calm_at
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


async def take_turn(connection: Connection, *, every_s: float) -> datetime | None:
    """Return the time when it is this transaction's turn to look, and None when another has looked, or is at it."""
    with translated():
        now: datetime | None = await connection.fetchval(_TAKE_TURN, every_s)
    return now


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
