"""`rt-server forget-rehearsals`: whatever rehearsals have left on a server is gone, and nothing
else.

What is a rehearsal's is known by its devices' ids alone (deploy/simulation/rehearsal/crew.py). One whose devices are
connected is under way, and stays.
"""

from typing import NamedTuple

from deploy.cli.entries import note, tell
from deploy.cli.migrate import migrate_and_note
from shared.db.channels import CURSORS, STREAMS, TOKENS
from shared.db.connections import Transaction, create_pool
from shared.db.errors import translated

__all__ = ["OF_A_REHEARSAL", "Forgotten", "forget"]

OF_A_REHEARSAL = "^rehearsal-[0-9a-f]{6}-"

# Runs of which no device is connected, whichever of them it is: all of a run, or nothing.
_OVER = """
WITH device AS MATERIALIZED (
    SELECT DISTINCT device_id, substring(device_id FROM $1) AS run FROM device_tokens WHERE device_id ~ $1
),
live AS (
    SELECT forwarder_id AS device_id FROM live_forwarder_sessions
    UNION ALL SELECT receiver_id FROM live_receiver_sessions
)
SELECT device_id FROM device
WHERE run NOT IN (SELECT run FROM device JOIN live USING (device_id))
ORDER BY device_id
"""
# Stream by stream, each in the order of the runbook: cursors and counts before events, the stream last, which takes the
# rest of its rows with it. A writer passes over a stream whose counts are locked.
_STREAMS = "SELECT stream_id FROM streams WHERE forwarder_id = ANY($1::text[]) ORDER BY stream_id"
_OF_STREAM = (
    "DELETE FROM receiver_cursors WHERE stream_id = $1",
    "DELETE FROM stream_metrics WHERE stream_id = $1",
    "DELETE FROM poisoned_parts WHERE stream_id = $1",
)
_EVENTS = """
WITH gone AS (DELETE FROM events WHERE stream_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
_STREAM = "DELETE FROM streams WHERE stream_id = $1"
# What refers to devices by their names. Their alerts end with the next look; the operators' log keeps what was.
_OF_DEVICES = (
    "DELETE FROM memory_parts WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM memory_numbers WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM forwarder_sessions WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM forwarder_faults WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM forwarder_races WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM reader_states WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM forwarder_ups WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM clearing_readers WHERE forwarder_id = ANY($1::text[])",
    "DELETE FROM subscriptions WHERE receiver_id = ANY($1::text[])",
    "DELETE FROM receiver_cursors WHERE receiver_id = ANY($1::text[])",
    "DELETE FROM device_tokens WHERE device_id = ANY($1::text[])",
)
_NOTIFY = "SELECT pg_notify(channel, '') FROM unnest($1::text[]) AS channel"


class Forgotten(NamedTuple):
    """What is gone: devices, streams, reads."""

    devices: int
    streams: int
    reads: int


async def forget(database_url: str) -> Forgotten:
    """Delete what rehearsals have left that are over; RtServerError when that cannot be."""
    await migrate_and_note(database_url)
    pool = await create_pool(database_url, name="rt-server forget-rehearsals", size=1)
    try:
        with translated():
            # All or nothing, with its entry.
            async with pool.acquire() as connection, connection.transaction():
                forgotten = await _forget(connection)
                if forgotten.devices:
                    await note(connection, "rehearsals_forgotten", forgotten._asdict())
            await pool.execute(_NOTIFY, [STREAMS, TOKENS, CURSORS])
        await tell(pool)
    finally:
        pool.terminate()
    return forgotten


async def _forget(connection: Transaction) -> Forgotten:
    devices = [row["device_id"] for row in await connection.fetch(_OVER, OF_A_REHEARSAL)]
    streams = [row["stream_id"] for row in await connection.fetch(_STREAMS, devices)]
    reads = 0
    for stream_id in streams:
        for statement in _OF_STREAM:
            await connection.execute(statement, stream_id)
        reads += await connection.fetchval(_EVENTS, stream_id)
        await connection.execute(_STREAM, stream_id)
    for statement in _OF_DEVICES:
        await connection.execute(statement, devices)
    return Forgotten(len(devices), len(streams), reads)
