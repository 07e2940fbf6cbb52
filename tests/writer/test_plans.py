"""The hot statements of ingest keep their plans at every age of a race, whatever the statistics say.

They run as in production, with its settings, and the plans are those that they had, inside functions too.
"""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from gateway.store import inbox as gateway
from shared.db.connections import STEADY_PLANS, connect
from tests.ages import Ways, complaints, grow, planned
from tests.failure.facts import Database
from tests.writer.inbox import GATEWAY, add_stream, drain, event, put

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
    async for age in grow(database):
        async with planned(connection) as plans:
            await ingest(connection, stream_id, seq)
        seq += 100
        wrong += [f"{age}: {each}" for each in complaints(plans, HOT)]
    assert not wrong, "\n".join(wrong)


async def ingest(connection: Database, stream_id: UUID, seq: int) -> None:
    """Stage, drain and report: new reads, some again, and one in conflict."""
    await put(connection, stream_id, [event(each) for each in range(max(1, seq - 10), seq + 100)])
    await put(connection, stream_id, [event(seq, "another")])
    await drain(connection)
    await gateway.collect_outcomes(connection, GATEWAY)
