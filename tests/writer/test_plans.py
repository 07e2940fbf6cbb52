"""The hot statements keep to their indexes, whatever the statistics say: the plans are those of the drain's own run."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.database import STEADY_PLANS, connect
from tests.failure.facts import Database
from tests.writer.inbox import add_stream, drain, event, put


@pytest.fixture
async def plans(database_url: str) -> AsyncIterator[dict[str, str]]:
    """The plans of the statements inside a drain, by their first line, in a database with a few rows in it."""
    connection = await connect(database_url, name="plans", **STEADY_PLANS)
    stream_id = await add_stream(connection)
    await put(connection, stream_id, [event(seq) for seq in range(1, 200)])
    await drain(connection)
    await put(connection, stream_id, [event(seq) for seq in range(150, 250)])
    await connection.execute("ANALYZE")
    told: list[str] = []
    await explain(connection, told)
    await drain(connection)
    await asyncio.sleep(0)  # a log line is handed on in the next turn of the loop
    yield {plan.split("Query Text: ")[1].split("\n")[0].strip(): plan for plan in told}
    await connection.close()


async def explain(connection: Database, told: list[str]) -> None:
    """Have every statement's plan told, those inside functions too."""
    await connection.execute(
        """
        LOAD 'auto_explain';
        SET auto_explain.log_min_duration = 0;
        SET auto_explain.log_nested_statements = on;
        SET client_min_messages = log;
        """
    )

    def keep(_connection: Any, message: Any) -> None:
        if "Query Text: " in message.message:
            told.append(message.message)

    connection.add_log_listener(keep)


async def test_a_drain_looks_each_read_up_by_its_key(plans: dict[str, str]) -> None:
    found = plans["WITH taken AS ("]
    assert "Index Scan using events_pkey on events" in found
    for table in ("events", "streams", "stream_metrics", "forwarder_sessions"):
        assert f"Seq Scan on {table}" not in found, found


async def test_a_drain_finds_parts_by_their_stream_and_takes_them_by_their_place(
    plans: dict[str, str],
) -> None:
    found = plans["WITH taken AS ("]
    assert "using inbox_stream on inbox" in found
    assert "Tid Scan on inbox" in found
    assert "Seq Scan on inbox" not in found


async def test_a_lock_looks_each_stream_up_by_its_key(plans: dict[str, str]) -> None:
    found = plans["WITH locked AS MATERIALIZED ("]
    assert "Index Scan using streams_pkey on streams" in found
    assert "using stream_metrics_pkey" in found
    assert "using inbox_stream on inbox" in found
    for table in ("streams", "stream_metrics", "inbox"):
        assert f"Seq Scan on {table}" not in found, found
