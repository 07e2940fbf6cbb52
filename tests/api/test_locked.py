"""Somebody holds a lock: whoever asks is told within seconds, in the one shape."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from api import app
from api.exports import stream
from api.live.view import Live
from api.routes import ROUTES
from tests.api.conftest import Client
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream

# What needs no database, and so must not wait for it; and who is alive, the one table that is not locked here.
WITHOUT = {"/api/v1/openapi.json", "/api/v1/version", "/docs", "/api/v1/processes"}
# What must be asked for besides.
QUERIES = {"/api/v1/certificate": f"?stream_id={uuid4()}"}
RESTART = "/api/v1/forwarders/start/restart"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as a process does, but not as long."""
    for settings in (app.POOL_SETTINGS, stream.CONNECTION):
        assert "lock_timeout" in settings
        monkeypatch.setitem(settings, "lock_timeout", "200ms")


@asynccontextmanager
async def locked(database_url: str, *tables: str) -> AsyncIterator[None]:
    """Lock tables, by default all but that of who is alive, as an ALTER TABLE or a VACUUM FULL does."""
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            all_tables = (
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'processes'"
            )
            for table in tables or [row["tablename"] for row in await holder.fetch(all_tables)]:
                await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await holder.close()


async def answered(client: Client, method: str, path: str) -> tuple[int, Any, str | None]:
    async with client.request(method, path) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers.get("Retry-After")


async def test_whatever_is_read_is_answered_503_while_its_tables_are_locked(
    client: Client, database: Database, database_url: str
) -> None:
    some = {
        "stream_id": uuid4(),
        "race_id": uuid4(),
        "bib": 7,
        "chip_id": "058003700001",
        "epoch": 1,
        "forwarder_id": "start",
        "receiver_id": "tent",
        "reader_ip": "10.0.0.1:10000",
    }
    paths = [
        each.path.format_map(some) + QUERIES.get(each.path, "")
        for each in ROUTES
        if each.method == "GET" and each.path not in WITHOUT
    ]
    assert len(paths) > 15
    async with locked(database_url):
        answers = await asyncio.gather(*(answered(client, "GET", path) for path in paths))
    for path, (status, body, retry_after) in zip(paths, answers, strict=True):
        assert (status, body["code"], retry_after) == (503, "UNAVAILABLE", "2"), path
        # What the page takes as NO DATABASE, and what people can do about it.
        assert body["details"] == {"cause": "database"}, path
        assert "holds a lock" in body["message"], path


async def test_those_who_wait_for_the_same_look_share_what_came_of_it(
    client: Client, database: Database, database_url: str
) -> None:
    """One after the other they would wait for minutes, each for the lock anew."""
    live = client.app[app.API].part(Live)
    async with locked(database_url, "streams"):
        answers = await asyncio.gather(*(answered(client, "GET", "/api/v1/verdict") for _ in range(20)))
    assert {status for status, *_ in answers} == {503}
    assert live.looks <= 3
    assert (await answered(client, "GET", "/api/v1/verdict"))[0] == 200


async def test_no_device_is_asked_for_what_cannot_be_noted_first(
    client: Client, database: Database, database_url: str
) -> None:
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    stream_id = await add_stream(database)
    async with locked(database_url, "activity"):
        for path in (RESTART, f"/api/v1/streams/{stream_id}/reset-epoch"):
            status, body, _ = await answered(client, "POST", path)
            assert (status, body["code"]) == (503, "UNAVAILABLE")
        assert await database.fetchval("SELECT count(*) FROM commands") == 0
