"""How the announcer is set, and where its run stands in the selected streams."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.announcer.run import Setting
from api.announcer.types import AnnouncerConfig
from shared.db.connections import Pool, Statements, Transaction
from shared.db.errors import DatabaseFault, translated

__all__ = [
    "BEGIN_AT_EPOCHS",
    "DUE",
    "Config",
    "Moved",
    "begin_run",
    "begin_run_at_epochs",
    "config",
    "hold",
    "hold_if_free",
    "is_due",
    "keep",
    "known_streams",
    "moved",
]

# public_enabled is of the moment, so that no process need be awake when the time is over.
_CONFIG = """
SELECT enabled, enabled_until, max_list_size, run_id, updated_at,
       chosen.stream_ids AS selected_stream_ids,
       enabled AND coalesce(enabled_until <= clock_timestamp(), false) AS over,
       enabled AND coalesce(enabled_until > clock_timestamp(), true) AND cardinality(chosen.stream_ids) > 0
           AS public_enabled,
       clock_timestamp() AS now
FROM announcer
CROSS JOIN (SELECT coalesce(array_agg(stream_id ORDER BY place), '{}') AS stream_ids FROM announcer_streams) AS chosen
"""
_HOLD = "SELECT FROM announcer FOR UPDATE"
_HOLD_IF_FREE = "SELECT true FROM announcer FOR UPDATE SKIP LOCKED"

# Whether a look is worth its lock, which costs a flush: asked with every notification, by every process.
DUE = """
SELECT EXISTS (
    SELECT FROM announcer CROSS JOIN announcer_streams AS selected JOIN streams USING (stream_id)
    WHERE enabled AND coalesce(enabled_until > clock_timestamp(), true)
      AND (last_position > selected.position OR streams.stream_epoch <> selected.stream_epoch)
)
"""

# $1: the ids of streams.
_KNOWN = "SELECT stream_id FROM streams WHERE stream_id = ANY($1::uuid[])"

_KEEP = """
UPDATE announcer SET enabled = $1, enabled_until = $2, max_list_size = $3, updated_at = clock_timestamp()
"""
# First those that are new, then those that go: who deletes several streams at once holds one of them and waits for a
# row here, and must not find us waiting for what he holds with that row in hand.
_SELECT = """
INSERT INTO announcer_streams (stream_id, place, stream_epoch, position)
SELECT stream_id, given.place, streams.stream_epoch, last_position
FROM unnest($1::uuid[]) WITH ORDINALITY AS given(stream_id, place) JOIN streams USING (stream_id)
ORDER BY stream_id
ON CONFLICT (stream_id) DO UPDATE SET place = excluded.place
"""
_UNSELECT = "DELETE FROM announcer_streams WHERE stream_id <> ALL($1::uuid[])"

_NEXT_RUN = "UPDATE announcer SET run_id = run_id + 1 RETURNING run_id"
# The last two are kept: who is at reading the one before, which has just ended, reads it to its end.
_FORGET_RUNS = "DELETE FROM announcements WHERE run_id < $1 - 1"
# Nothing of before: from what is stored now on.
_BEGIN_NOW = """
UPDATE announcer_streams AS selected SET stream_epoch = streams.stream_epoch, position = last_position
FROM streams WHERE streams.stream_id = selected.stream_id
"""
_MOVED = """
SELECT stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS stream,
       streams.stream_id, streams.stream_epoch
FROM announcer_streams AS selected JOIN streams USING (stream_id)
WHERE streams.stream_epoch <> selected.stream_epoch
ORDER BY place
"""
# The run begins with the first read of a new epoch, or now where there is none yet. Of a stream whose epoch has moved
# the position stays: what of the new epoch is stored lies above it, and late reads of older ones do not count. Of the
# others what was received before belongs to the run that has ended, whether it was announced in that or not.
BEGIN_AT_EPOCHS = """
WITH standing AS MATERIALIZED (
    SELECT selected.stream_id, selected.position, streams.stream_epoch, last_position,
           streams.stream_epoch <> selected.stream_epoch AS has_moved
    FROM announcer_streams AS selected JOIN streams USING (stream_id)
),
began AS MATERIALIZED (
    SELECT coalesce(min(first.received_at), 'infinity') AS at
    FROM standing
    CROSS JOIN LATERAL (
        SELECT received_at FROM events
        WHERE events.stream_id = standing.stream_id AND events.position > standing.position
          AND events.stream_epoch >= standing.stream_epoch
        ORDER BY position LIMIT 1
    ) AS first
    WHERE has_moved
)
UPDATE announcer_streams AS selected
SET stream_epoch = standing.stream_epoch,
    position = CASE WHEN has_moved THEN standing.position ELSE coalesce((
        SELECT events.position - 1 FROM events
        WHERE events.stream_id = standing.stream_id AND events.position > standing.position
          AND events.received_at >= (SELECT at FROM began)
        ORDER BY events.position LIMIT 1), last_position) END
FROM standing WHERE standing.stream_id = selected.stream_id
"""


class Config(NamedTuple):
    """How it is set at a moment, and which run goes on."""

    shown: AnnouncerConfig
    run_id: int
    over: bool
    now: datetime

    @property
    def setting(self) -> Setting:
        """The same, for decisions."""
        shown = self.shown
        return Setting(
            shown.enabled, shown.enabled_until, self.over, shown.max_list_size, shown.selected_stream_ids
        )


class Moved(NamedTuple):
    """A selected stream that has another epoch than when the run began."""

    stream: str
    stream_id: UUID
    stream_epoch: int


async def config(database: Statements) -> Config:
    """Return how it is set."""
    with translated():
        found = await database.fetchrow(_CONFIG)
    if found is None:
        raise DatabaseFault(
            "the row of table announcer is gone; INSERT INTO announcer DEFAULT VALUES makes it anew"
        )
    row = dict(found)
    run_id, over, now = (row.pop(name) for name in ("run_id", "over", "now"))
    return Config(AnnouncerConfig(**row), run_id, over, now)


async def hold(connection: Transaction) -> None:
    """Let nobody else announce or change anything until the transaction ends."""
    with translated():
        await connection.execute(_HOLD)


async def hold_if_free(connection: Transaction) -> bool:
    """The same; false when somebody else is at it."""
    with translated():
        return await connection.fetchval(_HOLD_IF_FREE) is not None


async def is_due(pool: Pool) -> bool:
    """Whether there is anything to look at."""
    with translated():
        return bool(await pool.fetchval(DUE))


async def known_streams(connection: Transaction, stream_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of some streams that there are."""
    with translated():
        return {row["stream_id"] for row in await connection.fetch(_KNOWN, stream_ids)}


async def keep(connection: Transaction, setting: Setting) -> None:
    """Set it, and which streams are selected."""
    with translated():
        await connection.execute(_KEEP, setting.enabled, setting.until, setting.max_list_size)
        await connection.execute(_SELECT, setting.stream_ids)
        await connection.execute(_UNSELECT, setting.stream_ids)


async def begin_run(connection: Transaction) -> int:
    """Begin a run with what is stored from now on, and return its number."""
    return await _begin(connection, _BEGIN_NOW)


async def begin_run_at_epochs(connection: Transaction) -> int:
    """Begin a run with the epochs that streams have now, before their first reads, and return its number."""
    return await _begin(connection, BEGIN_AT_EPOCHS)


async def _begin(connection: Transaction, positions: str) -> int:
    with translated():
        run_id = int(await connection.fetchval(_NEXT_RUN))
        await connection.execute(_FORGET_RUNS, run_id)
        await connection.execute(positions)
    return run_id


async def moved(connection: Transaction) -> list[Moved]:
    """Return the selected streams whose epoch is another one than the run's."""
    with translated():
        return [Moved(**row) for row in await connection.fetch(_MOVED)]
