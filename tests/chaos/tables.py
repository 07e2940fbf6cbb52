"""What the tables hold at one moment, as the oracle wants it; and the exports, through the reverse proxy."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import asyncpg
import orjson

from tests.chaos.announced import Announced, Announcer, Standing
from tests.chaos.desk import Desk
from tests.chaos.ledger import Event
from tests.chaos.oracle import Counts, Stored

__all__ = ["Tables", "map_epochs", "read_exports", "read_tables"]

_STREAM = "JOIN streams USING (stream_id)"
_EVENTS = f"""
SELECT forwarder_id, reader_ip, events.stream_epoch, seq, raw_frame, reader_timestamp, read_type, framed, position
FROM events {_STREAM}
"""
_CONFLICTS = f"""
SELECT forwarder_id, reader_ip, conflicts.stream_epoch, seq, rejected_frame, reader_timestamp, read_type,
       framed
FROM integrity_conflicts AS conflicts {_STREAM}
"""
_COUNTS = f"""
SELECT forwarder_id, reader_ip, counted.stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count,
       first_seq, last_seq, chip_count, last_position
FROM stream_metrics AS counted {_STREAM}
"""
_ANNOUNCED = f"""
SELECT run_id, announcement_id, subject, forwarder_id, reader_ip, told.stream_epoch, seq, tag_id
FROM announcements AS told {_STREAM}
ORDER BY run_id, announcement_id
"""
_SELECTED = f"""
SELECT forwarder_id, reader_ip, selected.stream_epoch, position, last_position
FROM announcer_streams AS selected {_STREAM}
"""
# Epochs that are to come, too. Whoever follows the race is told.
_MAP = """
WITH mapped AS (
    INSERT INTO epoch_races (stream_id, stream_epoch, race_id)
    SELECT stream_id, epoch, $1 FROM streams CROSS JOIN unnest($2::bigint[]) AS wanted(epoch)
    ON CONFLICT (stream_id, stream_epoch) DO NOTHING
)
SELECT pg_notify('rt_races', '')
"""
_TRIES, _AGAIN_S = 20, 0.5


class Tables(NamedTuple):
    """One snapshot."""

    stored: list[Stored]
    conflicts: list[Event]
    counts: list[Counts]
    dead_lettered: int
    announcer: Announcer


async def map_epochs(database_url: str, race_id: str, epochs: Iterable[int]) -> None:
    """Have a race have these epochs of all streams that there are."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_MAP, UUID(race_id), list(epochs))
    finally:
        await connection.close()


async def read_tables(database_url: str) -> Tables:
    """Read everything in one snapshot; tries for some seconds while the database is away."""
    for _ in range(_TRIES - 1):
        try:
            return await _read(database_url)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(_AGAIN_S)
    return await _read(database_url)


async def _read(database_url: str) -> Tables:
    database = await asyncpg.connect(database_url, timeout=5)
    try:
        async with database.transaction(isolation="repeatable_read", readonly=True):
            return Tables(
                [Stored(_event(row), row["position"]) for row in await database.fetch(_EVENTS)],
                [_event(row) for row in await database.fetch(_CONFLICTS)],
                [Counts(*row) for row in await database.fetch(_COUNTS)],
                await database.fetchval("SELECT count(*) FROM poisoned_parts"),
                await _announcer(database),
            )
    finally:
        database.terminate()


async def _announcer(database: "asyncpg.Connection[asyncpg.Record]") -> Announcer:
    return Announcer(
        await database.fetchval("SELECT run_id FROM announcer"),
        [Announced(*row) for row in await database.fetch(_ANNOUNCED)],
        {tuple(row)[:2]: Standing(*tuple(row)[2:]) for row in await database.fetch(_SELECTED)},
    )


def _event(row: asyncpg.Record) -> Event:
    forwarder_id, reader_ip, epoch, seq, frame, *rest = tuple(row)[:8]
    return Event(forwarder_id, reader_ip, epoch, seq, frame.decode(), *rest)


async def read_exports(desk: Desk) -> dict[tuple[str, str], bytes]:
    """Return the export.txt of every stream; one that is not answered in full counts as empty."""
    listed = await desk.ask("GET", "/api/v1/streams")
    streams = orjson.loads(listed.body)["streams"] if listed.status == 200 else []
    exported = {}
    for each in streams:
        answer = await desk.ask("GET", f"/api/v1/streams/{each['stream_id']}/export.txt")
        exported[each["forwarder_id"], each["reader_ip"]] = answer.body if answer.status == 200 else b""
    return exported
