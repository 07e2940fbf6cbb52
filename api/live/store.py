"""What the first page shows: streams as cards, flow, processes, alerts. Read whole, up to a bound for each, and at a
cost that does not grow with what is stored: events are looked at only to date the oldest that a receiver has not acked.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from api.alerts.store import ALERT, mutes
from api.alerts.types import Mute
from api.storage.facts import StorageFacts
from api.storage.store import storage
from api.streams.columns import OPEN_CONFLICTS, ZONE_UNKNOWN
from shared.db.connections import Connection, Pool
from shared.db.errors import translated

__all__ = [
    "ALERTS",
    "BINS",
    "CARDS",
    "FLOWS",
    "SELECT_ALERTS",
    "SELECT_CARDS",
    "SELECT_FLOW",
    "SELECT_PROCESSES",
    "SELECT_RATES",
    "Row",
    "Rows",
    "card",
    "newest_bin",
    "rates",
    "rows",
]

BINS = 180
# What the page shows at the most: devices decide how many there are.
CARDS, FLOWS, ALERTS = 500, 500, 500

Row = dict[str, Any]

# The cards that are shown: at most $1, those first of which something is wrong, then those of which something came
# within a day, then the newest. Or just one ($2). How many there are in all is counted beside each.
# How fast: what came in this bin so far, and as much of the last as makes ten seconds, by whole seconds.
SELECT_CARDS = f"""
WITH live AS MATERIALIZED (SELECT forwarder_id, connected_at FROM live_forwarder_sessions),
shown AS MATERIALIZED (
    SELECT stream_id, count(*) OVER () AS streams_total, count(live.forwarder_id) OVER () AS online_total,
           count(closed.stream_id) OVER () AS closed_total,
           (sum(greatest(0, epoch.last_seq - epoch.dedup_count)) OVER ())::bigint AS missing_total
    FROM streams
    LEFT JOIN live USING (forwarder_id)
    LEFT JOIN closed_streams AS closed USING (stream_id)
    LEFT JOIN stream_metrics AS epoch USING (stream_id, stream_epoch)
    WHERE $2::uuid IS NULL OR stream_id = $2
    ORDER BY stream_id IN (SELECT stream_id FROM troubles
                           WHERE subject_kind = 'stream' AND level <> 'good' AND ended_at IS NULL) DESC,
             greatest(created_at, epoch.last_received_at) > now() - interval '1 day' DESC,
             created_at DESC
    LIMIT $1
)
SELECT streams.stream_id, streams.forwarder_id, reader_ip, display_alias, forwarder_display_name, stream_epoch,
       epoch_names.name AS epoch_name,
       live.forwarder_id IS NOT NULL AS online, live.connected_at AS online_since, streams.created_at,
       coalesce(reader.connected, live.forwarder_id IS NOT NULL) AS reader_connected,
       races.race_id, races.name AS race_name, races.gun_at,
       CASE WHEN epoch.dedup_count > 0 THEN epoch.last_received_at END AS last_received_at,
       coalesce(epoch.dedup_count, 0) AS epoch_reads,
       coalesce(epoch.chip_count, 0) AS unique_chips,
       coalesce(round(CASE WHEN pace.seconds > 10 THEN (last_position - bin_position) / pace.seconds
                     ELSE (last_position - bin_position + counts[180] * (10 - pace.seconds) / 10) / 10 END, 1),
                0)::float AS events_per_second,
       coalesce(epoch.last_seq - epoch.dedup_count, 0) AS missing_count,
       coalesce(epoch.retransmit_count, 0) AS retransmit_count,
       coalesce(epoch.conflict_count, 0) AS conflict_count,
       conflicts.count AS open_conflicts,
       coalesce(epoch.unparsed_count, 0) AS unparsed_count,
       clock.offset_ms AS clock_offset_ms, {ZONE_UNKNOWN} AS zone_unknown,
       epoch.last_tag_id, last_position, closed.closed_at, closed.closed_by,
       greatest(0, last_position - coalesce(closed.position, last_position)) AS reads_since_closed,
       (SELECT point.race_id || '/' || point.place FROM point_streams AS point
        WHERE point.race_id = races.race_id AND point.stream_id = streams.stream_id) AS point,
       streams_total, online_total, closed_total, coalesce(missing_total, 0) AS missing_total
FROM shown
JOIN streams USING (stream_id)
LEFT JOIN live USING (forwarder_id)
LEFT JOIN reported_readers AS reader USING (forwarder_id, reader_ip)
LEFT JOIN stream_metrics AS epoch USING (stream_id, stream_epoch)
LEFT JOIN epoch_names USING (stream_id, stream_epoch)
CROSS JOIN LATERAL race_of_read(streams.stream_id, streams.stream_epoch, coalesce(epoch.last_seq, 0) + 1) AS next_read
LEFT JOIN races ON races.race_id = next_read.race_id
LEFT JOIN stream_samples AS sample USING (stream_id)
LEFT JOIN reader_clocks AS clock USING (stream_id)
LEFT JOIN closed_streams AS closed USING (stream_id)
CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM now())) - sample.bin * 10 AS seconds) AS pace
{OPEN_CONFLICTS}
ORDER BY streams.created_at, stream_id
"""  # noqa: S608 - of constants only

# Receivers that are gone and never acked anything have all before them. At most $1 rows, those first that are behind.
SELECT_FLOW = """
WITH connected AS MATERIALIZED (SELECT DISTINCT receiver_id FROM live_receiver_sessions)
SELECT receiver_id, stream_id,
       receiver_id IN (SELECT receiver_id FROM connected) AS connected,
       coalesce(flow.subscribed, false) AS subscribed,
       behind.events AS behind,
       round(extract(epoch FROM now() - oldest.received_at), 1)::float AS behind_seconds,
       count(*) OVER () AS total
FROM receiver_streams AS flow
FULL JOIN subscriptions USING (receiver_id, stream_id)
JOIN streams USING (stream_id)
CROSS JOIN LATERAL (SELECT coalesce(flow.behind, last_position)) AS behind(events)
LEFT JOIN LATERAL (
    SELECT received_at FROM events
    WHERE behind.events > 0
      AND events.stream_id = streams.stream_id AND position > last_position - behind.events
    ORDER BY position LIMIT 1
) AS oldest ON true
ORDER BY behind.events > 0 DESC, receiver_id, created_at, stream_id
LIMIT $1
"""

SELECT_PROCESSES = """
SELECT process_id, role, host, pid, address, version, started_at, last_seen_at, connections, events_per_second, ready,
       problem
FROM expected_processes
ORDER BY role, started_at, process_id
"""

# Open ones first, the worst and oldest before all, and before what does not count, at most $2; then the newest $1 that
# are resolved. What counts is counted by causes, each at its worst: eight readers of a box that has lost its power are
# one thing to do.
SELECT_ALERTS = f"""
WITH causes AS MATERIALIZED (
    SELECT cause, bool_or(level = 'act') AS is_act
    FROM answered_alerts WHERE ended_at IS NULL AND level <> 'good' AND quiet IS NULL
    GROUP BY cause
)
SELECT {ALERT}, watch_total, act_total, acknowledged_total, muted_total, clearing_total
FROM (
    (SELECT *, (SELECT count(*) FROM causes WHERE NOT is_act) AS watch_total,
            (SELECT count(*) FROM causes WHERE is_act) AS act_total,
            count(*) FILTER (WHERE quiet = 'acknowledged') OVER () AS acknowledged_total,
            count(*) FILTER (WHERE quiet = 'muted') OVER () AS muted_total,
            count(*) FILTER (WHERE quiet = 'clearing') OVER () AS clearing_total
     FROM answered_alerts WHERE ended_at IS NULL AND level <> 'good'
     ORDER BY quiet NULLS FIRST, level, since, trouble_id LIMIT $2)
    UNION ALL
    (SELECT *, NULL, NULL, NULL, NULL, NULL
     FROM answered_alerts WHERE ended_at IS NOT NULL AND level <> 'good' ORDER BY ended_at DESC LIMIT $1)
) AS shown
ORDER BY ended_at DESC NULLS FIRST, quiet NULLS FIRST, level, since, trouble_id
"""  # noqa: S608 - of constants

# Of the bins behind the one of number $2. All streams' bins are closed by one statement (alerts/samples.py).
SELECT_RATES = """
SELECT stream_id, bin, counts[greatest(1, 181 - bin + $2):180] AS counts FROM stream_samples
WHERE stream_id = ANY($1::uuid[]) AND bin > $2
"""

_NEWEST_BIN = "SELECT coalesce(max(bin), 0) FROM stream_samples WHERE stream_id = ANY($1::uuid[])"


class Rows(NamedTuple):
    """The page's rows, of one moment."""

    at: datetime
    cards: Sequence[Row]
    flow: Sequence[Row]
    alerts: Sequence[Row]
    mutes: Sequence[Mute]
    processes: Sequence[Row]
    storage: StorageFacts


async def rows(pool: Pool, *, resolved: int, known: StorageFacts | None = None) -> Rows:
    """Return the rows of the page, with the newest `resolved` alerts that have ended. known: what was just looked
    at."""
    with translated():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return Rows(
                await connection.fetchval("SELECT now()"),
                await _fetch(connection, SELECT_CARDS, CARDS, None),
                await _fetch(connection, SELECT_FLOW, FLOWS),
                await _fetch(connection, SELECT_ALERTS, resolved, ALERTS),
                await mutes(connection),
                await _fetch(connection, SELECT_PROCESSES),
                known if known is not None else await storage(connection),
            )


async def card(pool: Pool, stream_id: UUID) -> Row | None:
    """Return the row of one stream's card, whether it is among those that are shown or not."""
    with translated():
        found = await pool.fetchrow(SELECT_CARDS, 1, stream_id)
    return None if found is None else dict(found)


async def rates(
    pool: Pool, stream_ids: Collection[UUID], *, since: int = 0
) -> tuple[int, dict[UUID, list[int]]]:
    """Return the events of streams in bins of 10 s, oldest first: the last 180 of them, 30 min, or those behind the bin
    of a number; and the number of the newest, `since` when there is none.
    """
    with translated():
        found = await pool.fetch(SELECT_RATES, list(stream_ids), since)
    newest = max((row["bin"] for row in found), default=since)
    return newest, {row["stream_id"]: row["counts"] for row in found if row["bin"] == newest}


async def newest_bin(pool: Pool, stream_ids: Collection[UUID]) -> int:
    """Return the number of the newest bin of some streams, 0 when there is none."""
    with translated():
        return int(await pool.fetchval(_NEWEST_BIN, list(stream_ids)))


async def _fetch(connection: "Connection | Any", statement: str, *arguments: object) -> list[Row]:
    return [dict(row) for row in await connection.fetch(statement, *arguments)]
