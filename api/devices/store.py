"""Forwarders, receivers and processes. Who is online is derived from live sessions, never stored."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from api.devices.types import (
    Cursor,
    Forwarder,
    ForwarderReader,
    Process,
    Receiver,
    ReceiverSession,
    ReceiverStream,
)
from shared.db.connections import Pool, Statements
from shared.db.errors import translated

__all__ = [
    "Numbers",
    "delete_cursors",
    "list_cursors",
    "list_forwarders",
    "list_processes",
    "list_receivers",
    "numbers_of",
]

# Streams times epochs, which devices decide on.
CURSORS = 10_000

# A forwarder is known by its streams, or by its session before it has any. Its name is on its streams, where a
# hello in mid-session renames it. Seen: by its gateway now, at the end of its session, or by an event of its.
_FORWARDERS = """
WITH live AS MATERIALIZED (SELECT forwarder_id, connected_at, gateway_id FROM live_forwarder_sessions),
owned AS (
    SELECT forwarder_id, array_agg(stream_id ORDER BY created_at, stream_id) AS stream_ids,
           array_agg(reader_ip ORDER BY created_at, stream_id) AS reader_ips,
           array_agg(coalesce(reader.connected, forwarder_id IN (SELECT forwarder_id FROM live))
                     ORDER BY created_at, stream_id) AS readers_connected,
           max(forwarder_display_name) AS display_name,
           max((SELECT max(last_received_at) FROM stream_metrics
                WHERE stream_metrics.stream_id = streams.stream_id)) AS last_received_at
    FROM streams
    -- Of what is not told a forwarder's own connection says it.
    LEFT JOIN reported_readers AS reader USING (forwarder_id, reader_ip)
    GROUP BY forwarder_id
)
SELECT forwarder_id,
       CASE WHEN owned.stream_ids IS NULL THEN session.display_name ELSE owned.display_name END AS display_name,
       live.gateway_id IS NOT NULL AS online,
       live.connected_at,
       live.gateway_id AS gateway,
       coalesce(owned.stream_ids, '{}') AS stream_ids,
       coalesce(owned.reader_ips, '{}') AS reader_ips,
       coalesce(owned.readers_connected, '{}') AS readers_connected,
       greatest(session.connected_at, session.ended_at, owned.last_received_at,
                CASE WHEN session.ended_at IS NULL THEN gateway.last_seen_at END) AS last_seen_at
FROM owned
FULL JOIN forwarder_sessions AS session USING (forwarder_id)
LEFT JOIN live USING (forwarder_id)
LEFT JOIN processes AS gateway ON gateway.process_id = session.gateway_id
ORDER BY forwarder_id
"""

# Of current epochs. A chip that several readers of a forwarder have seen is looked for where several have seen any:
# $1: which forwarders, null for all.
_NUMBERS = """
SELECT counted.forwarder_id, total_reads, last_read_at,
       CASE WHEN readers < 2 THEN chips
            ELSE (SELECT count(DISTINCT tag_id)
                  FROM streams JOIN epoch_chips USING (stream_id, stream_epoch)
                  WHERE streams.forwarder_id = counted.forwarder_id) END AS unique_chips
FROM (
    SELECT forwarder_id, sum(dedup_count)::bigint AS total_reads, sum(chip_count)::bigint AS chips,
           count(*) FILTER (WHERE chip_count > 0) AS readers,
           max(last_received_at) FILTER (WHERE dedup_count > 0) AS last_read_at
    FROM streams JOIN stream_metrics USING (stream_id, stream_epoch)
    WHERE $1::text[] IS NULL OR forwarder_id = ANY($1)
    GROUP BY forwarder_id
) AS counted
"""

_RECEIVER_SESSIONS = """
SELECT receiver_id, session_id, connected_at, fanout_id AS fanout
FROM live_receiver_sessions
ORDER BY receiver_id, connected_at, session_id
"""
_RECEIVER_STREAMS = """
SELECT receiver_id, stream_id, receiver_streams.stream_epoch, last_seq, behind, updated_at
FROM receiver_streams JOIN streams USING (stream_id)
ORDER BY receiver_id, created_at, stream_id
"""

_CURSORS = """
SELECT stream_id, receiver_cursors.stream_epoch, last_seq, updated_at
FROM receiver_cursors JOIN streams USING (stream_id)
WHERE receiver_id = $1 AND last_seq > 0
ORDER BY created_at, stream_id, receiver_cursors.stream_epoch
LIMIT $2
"""
# $2: a stream, or null for all. A receiver that is gone is missed no more.
_DELETE_CURSORS = """
WITH forgotten AS (
    DELETE FROM subscriptions
    WHERE receiver_id = $1 AND ($2::uuid IS NULL OR stream_id = $2) AND gone_since IS NOT NULL
    RETURNING 1
)
SELECT forget_cursors($1, $2) + (SELECT count(*) FROM forgotten)
"""

_PROCESSES = """
SELECT process_id, role, host, pid, address, version, started_at, last_seen_at, connections, events_per_second, ready
FROM live_processes
ORDER BY role, started_at, process_id
"""


class Numbers(NamedTuple):
    """Chips, reads and the last of them, in the current epochs of a forwarder's streams."""

    unique_chips: int
    total_reads: int
    last_read_at: datetime | None


NO_NUMBERS = Numbers(0, 0, None)


async def list_forwarders(pool: Pool) -> list[Forwarder]:
    """Return all forwarders that have ever connected."""
    with translated():
        rows = await pool.fetch(_FORWARDERS)
    numbers = await numbers_of(pool)
    return [_forwarder(dict(row), numbers.get(row["forwarder_id"], NO_NUMBERS)) for row in rows]


async def numbers_of(pool: Pool, forwarder_ids: Collection[str] | None = None) -> dict[str, Numbers]:
    """Return the numbers of forwarders that have any, of all or of some."""
    with translated():
        rows = await pool.fetch(_NUMBERS, None if forwarder_ids is None else list(forwarder_ids))
    return {
        row["forwarder_id"]: Numbers(row["unique_chips"], row["total_reads"], row["last_read_at"])
        for row in rows
    }


def _forwarder(row: dict[str, Any], numbers: Numbers) -> Forwarder:
    readers = zip(row.pop("reader_ips"), row.pop("readers_connected"), strict=True)
    return Forwarder(
        **row,
        readers=[
            ForwarderReader(reader_ip=reader_ip, connected=connected) for reader_ip, connected in readers
        ],
        **numbers._asdict(),
    )


async def list_receivers(pool: Pool) -> list[Receiver]:
    """Return the receivers that are connected or have cursors, with their sessions and streams."""
    with translated():
        sessions = await pool.fetch(_RECEIVER_SESSIONS)
        streams = await pool.fetch(_RECEIVER_STREAMS)
    found: dict[str, Receiver] = {}
    for receiver_id, *_ in (*sessions, *streams):
        found.setdefault(receiver_id, Receiver(receiver_id=receiver_id, sessions=[], streams=[]))
    for receiver_id, session_id, connected_at, fanout in sessions:
        session = ReceiverSession(session_id=session_id, connected_at=connected_at, fanout=fanout)
        found[receiver_id].sessions.append(session)
    for row in map(dict, streams):
        found[row.pop("receiver_id")].streams.append(ReceiverStream(**row))
    return [found[receiver_id] for receiver_id in sorted(found)]


async def list_cursors(pool: Pool, receiver_id: str) -> list[Cursor]:
    """Return the stored cursors of a receiver, by stream and epoch: the first CURSORS of them."""
    with translated():
        return [Cursor(**row) for row in await pool.fetch(_CURSORS, receiver_id, CURSORS)]


async def delete_cursors(database: Statements, receiver_id: str, stream_id: UUID | None = None) -> int:
    """Forget what a receiver, of one stream or of all, has acked and that it is missed; return how many rows went."""
    with translated():
        return int(await database.fetchval(_DELETE_CURSORS, receiver_id, stream_id))


async def list_processes(pool: Pool) -> list[Process]:
    """Return the processes that live."""
    with translated():
        return [Process(**row) for row in await pool.fetch(_PROCESSES)]
