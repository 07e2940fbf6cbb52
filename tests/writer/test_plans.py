"""The hot statements of ingest keep their plans at every age of a race, whatever the statistics say.

They run as in production, with its settings, and the plans are those that they had, inside functions too.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from gateway.store import inbox as gateway
from shared.database import STEADY_PLANS, connect
from tests.ages import Plans, grow, nodes, planned
from tests.failure.facts import Database
from tests.writer.inbox import GATEWAY, add_stream, drain, event, put

# By the statement's beginning, and by its table: the only ways in, each an index and what must be looked up in it.
KEY = "events_pkey: stream_id stream_epoch seq"
STREAM = "streams_pkey: stream_id"
COUNTS = "stream_metrics_pkey: stream_id stream_epoch"
HOT: Mapping[str, Mapping[str, set[str]]] = {
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
# What a row may cost at the most that is looked at in vain.
IN_VAIN = 3


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
        wrong += [f"{age}: {each}" for each in complaints(plans)]
        assert {begin for begin in HOT if any(text.startswith(begin) for text, _ in plans)} == HOT.keys()
    assert not wrong, "\n".join(wrong)


async def ingest(connection: Database, stream_id: UUID, seq: int) -> None:
    """Stage, drain and report: new reads, some again, and one in conflict."""
    await put(connection, stream_id, [event(each) for each in range(max(1, seq - 10), seq + 100)])
    await put(connection, stream_id, [event(seq, "another")])
    await drain(connection)
    await gateway.collect_outcomes(connection, GATEWAY)


def complaints(plans: Plans) -> list[str]:
    """Return what comes to a table by a way that is not allowed, or looks at rows in vain."""
    return [
        f"{begin!r} comes to {node['Relation Name']} by {way_in(node)!r}, {vain(node)} rows in vain"
        for begin, allowed in HOT.items()
        for text, plan in plans
        if text.startswith(begin)
        for node in nodes(plan)
        if "Scan" in node["Node Type"] and node.get("Relation Name") in allowed
        if way_in(node) not in allowed[node["Relation Name"]] or vain(node) > IN_VAIN
    ]


def vain(node: Mapping[str, Any]) -> int:
    """Return how many rows a scan has looked at for nothing."""
    return int(node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0))


def way_in(node: Mapping[str, Any]) -> str:
    """Return how a scan finds its rows: its index, and the columns that are looked up in it, in their order."""
    if "Index Name" not in node:
        return str(node["Node Type"])
    condition = str(node.get("Index Cond", ""))
    names = ["receiver_id", "forwarder_id", "reader_ip", "stream_id", "stream_epoch", "seq", "position"]
    columns = [name for name in names if re.search(rf'[( ]"?{name}"? (=|>|<)', condition)]
    return f"{node['Index Name']}: {' '.join(columns)}".strip()
