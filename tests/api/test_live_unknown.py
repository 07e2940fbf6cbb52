"""The event stream of a process that does not know what happens: it says so."""

import asyncio

import aiohttp
import pytest
from structlog.testing import capture_logs

from api.live import routes as handlers
from api.live.view import Live
from shared.runtime.liveness import Presence
from shared.runtime.process import Process as ApiProcess
from tests.api.conftest import Ask, Client
from tests.api.following import CHANGED, OVERVIEW, following, get, unready
from tests.api.seeds import (
    Database,
)
from tests.api.sse import follow
from tests.postgres import Postgresql
from tests.services import Process
from tests.waiting import stretched, wait_until


async def test_a_process_that_does_not_know_what_happens_says_so(
    live: Live, client: Client, process: ApiProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "TICK_EVERY_S", 0.05)
    async with following(client, query=CHANGED) as events, asyncio.timeout(stretched(30)):
        await events.named("tick")
        monkeypatch.setattr(Presence, "problem", "not connected")
        await events.named("stalled")
        async with client.get("/api/v1/verdict") as answer:
            assert answer.status == 503
            assert (await answer.json())["details"] == {"cause": "database"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life come often, and a look is missed soon."""
    monkeypatch.setattr(handlers, "TICK_EVERY_S", 0.05)
    monkeypatch.setattr("api.live.view.POLL_S", 0.05)
    monkeypatch.setattr("api.live.view.KNOWS_S", 0.5)


@pytest.mark.parametrize("query", ["", CHANGED])
async def test_a_page_whose_looks_hang_is_not_told_that_nothing_has_happened(
    impatient: None, live: Live, client: Client, database: Database, query: str
) -> None:
    """The database answers presence and all others; the lock is on a table that only a look reads."""
    async with following(client, query=query) as events, asyncio.timeout(stretched(60)):
        await events.named("tick")
        async with database.transaction():
            await database.execute("LOCK TABLE epoch_names IN ACCESS EXCLUSIVE MODE")
            await events.named("stalled")
        await events.named("tick")


async def test_a_page_whose_looks_are_refused_is_not_told_that_nothing_has_happened(
    impatient: None, live: Live, client: Client, database: Database
) -> None:
    async with following(client, query=CHANGED) as events, asyncio.timeout(stretched(60)):
        await events.named("tick")
        with capture_logs() as logs:
            await database.execute("ALTER TABLE epoch_names RENAME TO elsewhere")
            # A look that is late is told as stalled too, and nothing was missed by it: what must happen is a refusal.
            await wait_until(
                lambda: any(each.get("loop") == "live" and "epoch_names" in each["error"] for each in logs),
                what="a look to be refused",
            )
        await events.named("stalled")
        await database.execute("ALTER TABLE elsewhere RENAME TO epoch_names")
        # What was missed is not known.
        await events.named("resync")
        await events.named("tick")


async def test_who_must_start_anew_waits_where_it_is_while_nobody_knows(
    impatient: None, live: Live, client: Client, ask: Ask, database: Database
) -> None:
    await ask("GET", OVERVIEW)
    await database.execute("ALTER TABLE epoch_names RENAME TO elsewhere")
    await wait_until(lambda: not live.knows, what="the looks to be missed")
    async with (
        following(client, query=f"{CHANGED}&last_event_id=another-1") as events,
        asyncio.timeout(stretched(60)),
    ):
        await events.named("stalled")
        assert events.last_id == "another-1"
        await database.execute("ALTER TABLE elsewhere RENAME TO epoch_names")
        await events.named("overview")
        assert events.last_id.startswith(live.ring.last_id.split("-")[0])


async def test_a_database_that_was_away_is_a_reason_to_start_anew(
    apis: list[Process], http: aiohttp.ClientSession, cluster: Postgresql
) -> None:
    async with follow(http, apis[0].url) as events:
        cluster.terminate()
        try:
            async with http.get(apis[0].url + "/healthz") as answer:
                assert answer.status == 200
            await wait_until(lambda: unready(http, apis[0]), what="the loss to be noticed")
        finally:
            cluster.start()
        async with asyncio.timeout(stretched(30)):
            await events.named("resync")
        await apis[0].ready()
        await get(http, apis[0])
