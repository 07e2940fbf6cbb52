"""A real api process: its end in the middle of an export, and a database that goes and comes."""

import asyncio
import signal
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic

import aiohttp
import pytest

from tests.api.seeds import Database, add_events, add_stream
from tests.postgres import Postgresql
from tests.services import Process
from tests.waiting import PATIENCE_S, stretched, wait_until


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Process]:
    """An api process that is ready."""
    process = Process("api", database_url, {})
    await process.start()
    try:
        await process.ready()
        yield process
    finally:
        if process.child is not None and process.child.returncode is None:
            await process.kill()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        yield session


async def test_what_the_framework_refuses_unseen_has_the_one_shape(
    api: Process, http: aiohttp.ClientSession
) -> None:
    for headers in ({"X": "y" * 9_000}, {"Expect": "miracles"}):
        async with http.get(api.url + "/api/v1/streams", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (400, "application/json")
            assert answer.headers["Server"] == "rt-server"
            assert (await answer.json())["code"] == "BAD_REQUEST"


async def test_an_orderly_stop_breaks_the_exports_under_way(
    api: Process, http: aiohttp.ClientSession, database: Database
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, [b"x" * 4_000] * 5_000)
    async with http.get(f"{api.url}/api/v1/streams/{stream_id}/export.txt") as answer:
        await answer.content.readexactly(1)
        began = monotonic()
        api.signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await api.ended() == 0
        assert monotonic() - began < stretched(8)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_database_that_goes_is_unavailable_until_it_is_back(
    api: Process, http: aiohttp.ClientSession, cluster: Postgresql
) -> None:
    async def answers(path: str, status: int) -> bool:
        async with http.get(api.url + path) as answer:
            body = await answer.json()
            assert answer.status in (200, 503), body
            assert (answer.status == 503) == (body.get("code") == "UNAVAILABLE")
            return answer.status == status

    cluster.terminate()
    try:
        for path in ("/api/v1/streams", "/readyz"):
            await wait_until(partial(answers, path, 503), deadline_s=5, what=f"503 of {path}")
        assert await answers("/healthz", 200)
    finally:
        cluster.start()
    for path in ("/readyz", "/api/v1/streams"):
        await wait_until(partial(answers, path, 200), deadline_s=5, what=f"200 of {path}")
