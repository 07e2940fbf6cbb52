"""The hot statements of ingest keep their plans at every age of a race, whatever the statistics say.

They run as in production, with its settings, and the plans are those that they had, inside functions too.
"""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from gateway.store import inbox as gateway
from gateway.store.streams import epochs_stored
from shared.db.connections import STEADY_PLANS, connect
from tests.ages import Ways, complaints, grow, planned
from tests.failure.facts import Database
from tests.writer.inbox import GATEWAY, add_stream, drain, event, put
from writer import store as writer
from writer.store.upkeep import resolve_dead_letters

KEY = "events_pkey: stream_id stream_epoch seq"
STREAM = "streams_pkey: stream_id"
COUNTS = "stream_metrics_pkey: stream_id stream_epoch"
HOT: Ways = {
    "WITH locked AS": {
        "streams": {STREAM},
        "stream_metrics": {COUNTS, "stream_metrics_pkey: stream_id"},
        "inbox": {"inbox_stream:"},
    },
    "WITH taken AS (": {
        "events": {KEY},
        "streams": {STREAM, "Tid Scan"},
        "stream_metrics": {COUNTS, "Tid Scan"},
        "forwarder_sessions": {"forwarder_sessions_pkey: forwarder_id"},
        "inbox": {"inbox_stream: stream_id", "inbox_stream:", "Tid Scan", "inbox_pkey:"},
    },
    "INSERT INTO inbox": {},
    # Once for each epoch that a session has not had yet.
    'SQL function "epochs_of_forwarder"': {
        "streams": {STREAM, "streams_forwarder_id_reader_ip_key: forwarder_id"},
        "stream_metrics": {COUNTS, "stream_metrics_pkey: stream_id"},
    },
    # Each second, each two seconds, and after a fault.
    "WITH gone AS (": {"streams": {STREAM}, "inbox": {"Seq Scan", "Tid Scan"}},
    "DELETE FROM poisoned_parts AS letter": {
        "events": {KEY},
        "integrity_conflicts": {"integrity_conflicts_line: stream_id stream_epoch seq"},
        "poisoned_parts": {"Seq Scan", "Tid Scan"},
    },
    "SELECT gateway_id, part_id FROM inbox": {"inbox": {"inbox_stream: stream_id"}},
    "WITH poisoned AS (": {"poisoned_parts": {"poisoned_parts_epoch: stream_id stream_epoch"}},
}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Database]:
    """A connection like those of the hot loops."""
    connection = await connect(database_url, name="plans", **STEADY_PLANS)
    yield connection
    await connection.close()


async def test_hot_statements_keep_their_plans_at_every_age(database: Database, connection: Database) -> None:
    stream_id = await add_stream(database)
    seq = 1
    wrong: list[str] = []
    # As many as there may be: the drain and its house are what nobody may wait for.
    async for age in grow(database, streams=60_000):
        async with planned(connection) as plans:
            await put_aside(connection, stream_id, seq)
            await ingest(connection, stream_id, seq)
            await keep_house(connection)
        seq += 100
        wrong += [f"{age}: {each}" for each in complaints(plans, HOT)]
    assert not wrong, "\n".join(wrong)


async def ingest(connection: Database, stream_id: UUID, seq: int) -> None:
    """Stage, drain and report: new reads, some again, and one in conflict."""
    await put(connection, stream_id, [event(each) for each in range(max(1, seq - 10), seq + 100)])
    await put(connection, stream_id, [event(seq, "another")])
    await epochs_stored(connection, "f1", {("r1", 1), ("r1", 2)}, {"r1": stream_id})
    await drain(connection)
    await gateway.collect_outcomes(connection, GATEWAY)


async def put_aside(connection: Database, stream_id: UUID, seq: int) -> None:
    """Take a part off as a dead letter: what will be stored, what will be beside it, and what never comes again."""
    await put(connection, stream_id, [event(seq + 1), event(seq, "another"), event(10**6)])
    (part,) = await writer.queued_parts(connection, stream_id, 10)
    await writer.put_aside(connection, part, "why")


async def keep_house(connection: Database) -> None:
    """Do what a writer does beside its drains: look for parts of deleted streams, and for letters that are none."""
    deleted = await add_stream(connection, "deleted")
    await put(connection, deleted, [event(1)])
    await connection.execute("DELETE FROM streams WHERE stream_id = $1", deleted)
    assert await writer.reject_stream_deleted(connection) == [GATEWAY]
    assert await resolve_dead_letters(connection) == []
    # Whatever is counted here is of one letter, at any age.
    await connection.execute("DELETE FROM poisoned_parts WHERE seqs[3] = 1000000")
