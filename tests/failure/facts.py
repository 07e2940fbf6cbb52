"""What must be true of the tables, whatever broke meanwhile."""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import asyncpg

from deploy.simulation.devices.forwarder import Forwarder
from tests.waiting import wait_until

__all__ = ["Counts", "Database", "backends", "counts", "exact_by_epoch", "lines", "settled", "whole"]

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_EVENTS = """
SELECT events.stream_epoch, seq, position, raw_frame
FROM events JOIN streams USING (stream_id)
WHERE forwarder_id = $1 AND reader_ip = $2
ORDER BY events.stream_epoch, seq
"""
# One statement, one snapshot: the counts are compared with the rows of the same instant.
_COUNTS = """
SELECT coalesce(sum(raw_count), 0)::bigint AS raw, coalesce(sum(dedup_count), 0)::bigint AS dedup,
       coalesce(sum(retransmit_count), 0)::bigint AS retransmit,
       coalesce(sum(conflict_count), 0)::bigint AS conflict,
       (SELECT count(*) FROM events) AS events,
       (SELECT count(*) FROM integrity_conflicts) AS quarantined,
       (SELECT coalesce(sum(last_position), 0)::bigint FROM streams) AS positions
FROM stream_metrics
"""


_ASTRAY = """
SELECT count(*)
FROM (SELECT stream_id, stream_epoch, count(*) AS events FROM events GROUP BY 1, 2) AS stored
FULL JOIN (SELECT stream_id, stream_epoch, count(*) AS lines FROM integrity_conflicts GROUP BY 1, 2) AS aside
    USING (stream_id, stream_epoch)
FULL JOIN stream_metrics USING (stream_id, stream_epoch)
WHERE coalesce(events, 0) <> coalesce(dedup_count, 0) OR coalesce(lines, 0) > coalesce(conflict_count, 0)
   OR raw_count <> dedup_count + retransmit_count + conflict_count
"""


class Counts(NamedTuple):
    """The sums of all streams' counters, and the rows that they count."""

    raw: int
    dedup: int
    retransmit: int
    conflict: int
    events: int
    quarantined: int
    positions: int

    @property
    def exact(self) -> bool:
        """Whether the counters agree with each other and with the rows."""
        return self.raw == self.dedup + self.retransmit + self.conflict and self.dedup == self.events


async def counts(database: Database) -> Counts:
    """Return the counters of one instant."""
    row = await database.fetchrow(_COUNTS)
    assert row is not None
    return Counts(*row)


async def exact_by_epoch(database: Database) -> bool:
    """Whether the counters of each epoch agree with its rows, at one instant."""
    return bool(await database.fetchval(_ASTRAY) == 0)


async def lines(database: Database, forwarder_id: str, reader_ip: str) -> list[tuple[int, int, str]]:
    """Return (epoch, seq, line) of all events of a stream in this order; positions must be dense and unique."""
    rows = await database.fetch(_EVENTS, forwarder_id, reader_ip)
    assert sorted(row["position"] for row in rows) == list(range(1, len(rows) + 1))
    return [(row["stream_epoch"], row["seq"], row["raw_frame"].decode()) for row in rows]


async def whole(database: Database, forwarders: Iterable[Forwarder]) -> None:
    """Check that what the devices recorded is stored, once, and nothing else; and that the counts are exact."""
    recorded = 0
    for device in forwarders:
        for reader in device.readers:
            sent = [
                (each.stream_epoch, each.seq, each.raw_read_line) for each in device.journal.events(reader)
            ]
            assert await lines(database, device.device_id, reader) == sent
            recorded += len(sent)
    now = await counts(database)
    assert now.exact
    assert now.events == recorded
    assert await exact_by_epoch(database)


async def settled(database: Database) -> None:
    """Wait until nothing is on its way any more."""
    await wait_until(
        lambda: database.fetchval("SELECT NOT EXISTS (SELECT FROM inbox)"), what="the inbox to be empty"
    )


async def backends(database: Database, name: str, *, waiting: bool = False) -> list[int]:
    """Return the pids of the backends of this database whose application name is like `name`.

    waiting: only those that wait for a lock.
    """
    rows = await database.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE $1"
        " AND (NOT $2 OR wait_event_type = 'Lock') AND pid <> pg_backend_pid()",
        name,
        waiting,
    )
    return [row["pid"] for row in rows]
