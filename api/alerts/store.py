"""What operators say of alerts. Each statement decides and writes at once, so that of two who say the same the second
finds what the first has said, in whichever process each of them is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from api.alerts.shown import alert, mute
from api.alerts.types import Alert, Mute
from shared.db.connections import Connection, Statements
from shared.db.errors import translated

__all__ = [
    "ALERT",
    "MUTES",
    "MuteBounds",
    "Said",
    "SaidMute",
    "acknowledge",
    "find",
    "mute_alert",
    "mutes",
    "take_back_acknowledgement",
    "take_back_mute",
    "tidy",
]

# Columns of an alert, with how long it took if it is over.
ALERT = """trouble_id, signal, subject_kind, subject_id, stream_id, title, level, reason, advice, since, ended_at,
       extract(epoch FROM ended_at - since)::float AS duration_s, quiet, acknowledged_by, acknowledged_at,
       acknowledged_because, muted_by, muted_at, muted_until, muted_because,
       cause"""
# More than that nobody means.
MUTES = 500

_FIND = f"SELECT {ALERT} FROM answered_alerts WHERE trouble_id = $1"  # noqa: S608 - of constants

# $1 alert, $2 reason, $3 who, $4 the level that was looked at. An acknowledgement that a worse level has made void is
# replaced; one that holds is not, whoever comes second.
_ACKNOWLEDGE = """
WITH alert AS (
    SELECT trouble_id, level, ended_at FROM troubles WHERE trouble_id = $1 AND (level <> 'good' OR ended_at IS NOT NULL)
),
given AS (
    INSERT INTO alert_acknowledgements AS known (alert_id, level, reason, acknowledged_by)
    SELECT trouble_id, level, $2, $3 FROM alert
    WHERE ended_at IS NULL AND (level = 'watch' OR $4::text IS DISTINCT FROM 'watch')
    ON CONFLICT (alert_id) DO UPDATE
    SET level = excluded.level, reason = excluded.reason, acknowledged_by = excluded.acknowledged_by,
        acknowledged_at = excluded.acknowledged_at
    WHERE known.level = 'watch' AND excluded.level = 'act'
    RETURNING alert_id
)
SELECT EXISTS (SELECT FROM alert) AS exists, EXISTS (SELECT FROM given) AS done
"""
_TAKE_BACK_ACKNOWLEDGEMENT = "DELETE FROM alert_acknowledgements WHERE alert_id = $1 RETURNING alert_id"

# $1 alert, $2 reason, $3 who; $4 until when, or null for as long as $6; $5: how many there may be; $7 the longest. The
# database's clock decides, as it does when a mute is over. By the clock of whoever asks a whole $7 may end a little
# beyond it: by up to $8 it is cut, not refused. A mute whose time is over is none.
_MUTE = """
WITH alert AS (
    SELECT * FROM troubles WHERE trouble_id = $1 AND (level <> 'good' OR ended_at IS NOT NULL)
),
wanted AS (
    SELECT least(given, now() + $7::interval) AS until FROM coalesce($4, now() + $6::interval) AS given
    WHERE given > now() AND given <= now() + $7::interval + $8::interval
),
given AS (
    INSERT INTO alert_mutes AS known (alert_id, signal, subject_kind, subject_id, stream_id, title, reason, muted_by,
                                      muted_until)
    SELECT trouble_id, signal, subject_kind, subject_id, stream_id, title, $2, $3, until FROM alert, wanted
    WHERE (SELECT count(*) FROM alert_mutes WHERE muted_until > now()) < $5
    ON CONFLICT (signal, subject_kind, subject_id, stream_id) DO UPDATE
    SET alert_id = excluded.alert_id, title = excluded.title, reason = excluded.reason, muted_by = excluded.muted_by,
        muted_at = excluded.muted_at, muted_until = excluded.muted_until
    WHERE known.muted_until <= now()
    RETURNING alert_id
)
SELECT EXISTS (SELECT FROM alert) AS exists, EXISTS (SELECT FROM given) AS done, (SELECT until FROM wanted) AS until
"""
# What covers an alert, as the view has it, or was said of it. A mute that covers many streams is taken back whole.
_TAKE_BACK_MUTE = """
DELETE FROM alert_mutes AS mute
WHERE muted_until > now()
  AND (alert_id = $1
       OR EXISTS (SELECT FROM troubles AS alert
                  WHERE alert.trouble_id = $1
                    AND (alert.signal, alert.subject_kind, alert.subject_id)
                        = (mute.signal, mute.subject_kind, mute.subject_id)
                    AND (mute.stream_id IS NULL OR mute.stream_id = alert.stream_id))
       OR EXISTS (SELECT FROM troubles AS alert JOIN streams USING (stream_id)
                  WHERE alert.trouble_id = $1 AND alert.subject_kind = 'stream' AND alert.signal = mute.signal
                    AND mute.subject_kind = 'forwarder' AND mute.subject_id = streams.forwarder_id))
RETURNING title, signal
"""
_MUTES = """
SELECT alert_id, signal, subject_kind, subject_id, stream_id, title, reason, muted_by, muted_at, muted_until
FROM alert_mutes WHERE muted_until > now()
ORDER BY muted_until, muted_at
"""

# An acknowledgement goes with its alert: when that is forgotten, and as soon as it is worse or nothing for a moment,
# so that it does not come back when the alert does.
_TIDY = """
WITH void AS (
    DELETE FROM alert_acknowledgements AS known
    WHERE NOT EXISTS (SELECT FROM troubles AS alert
                      WHERE alert.trouble_id = known.alert_id
                        AND (alert.ended_at IS NOT NULL OR alert.level = 'watch' OR alert.level = known.level))
)
DELETE FROM alert_mutes WHERE muted_until <= now()
"""


class Said(NamedTuple):
    """What became of what somebody said of an alert: whether there is such an alert, and whether it was new."""

    exists: bool
    done: bool


class MuteBounds(NamedTuple):
    """How long a condition may be muted: without a word of it, at the most, and how far beyond that a clock may be."""

    usual: timedelta
    at_most: timedelta
    slack: timedelta


class SaidMute(NamedTuple):
    """What became of a mute, and until when it was to be; None where that is no time that it can have."""

    exists: bool
    done: bool
    until: datetime | None


async def find(database: Statements, alert_id: int) -> Alert | None:
    """Return an alert, open or over; None when there is none, or none any more."""
    with translated():
        row = await database.fetchrow(_FIND, alert_id)
    return None if row is None or row["level"] == "good" else alert(dict(row))


async def acknowledge(
    database: Statements, alert_id: int, *, reason: str | None, by: str, level: str | None
) -> Said:
    """Note that somebody knows of an alert. level: as it was looked at; nothing is noted of one that is worse."""
    with translated():
        (row,) = await database.fetch(_ACKNOWLEDGE, alert_id, reason, by, level)
    return Said(**row)


async def take_back_acknowledgement(database: Statements, alert_id: int) -> bool:
    """Take back that somebody knows of an alert; false when nobody has said so."""
    with translated():
        return await database.fetchval(_TAKE_BACK_ACKNOWLEDGEMENT, alert_id) is not None


async def mute_alert(
    database: Statements, alert_id: int, *, reason: str, by: str, until: datetime | None, bounds: MuteBounds
) -> SaidMute:
    """Have the condition of an alert count no more until then."""
    with translated():
        (row,) = await database.fetch(_MUTE, alert_id, reason, by, until, MUTES, *bounds)
    return SaidMute(**row)


async def take_back_mute(database: Statements, alert_id: int) -> str | None:
    """Have it count again, and return of what; None when it is not muted."""
    with translated():
        title: str | None = await database.fetchval(_TAKE_BACK_MUTE, alert_id)
    return title


async def mutes(database: Statements) -> Sequence[Mute]:
    """Return all that is muted, what ends first before all."""
    with translated():
        return [mute(dict(row)) for row in await database.fetch(_MUTES)]


async def tidy(connection: Connection) -> None:
    """Forget what was said of alerts that are not any more, or are something else by now."""
    with translated():
        await connection.execute(_TIDY)
