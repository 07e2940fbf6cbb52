"""Whoever comes to the event stream from before, or from elsewhere, misses nothing."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from api.live import routes as handlers
from api.live.messages import Resync
from api.live.view import Live
from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from tests.api.conftest import Ask, Client
from tests.api.following import CHANGED, OVERVIEW, following, get, notify
from tests.api.seeds import (
    Database,
    add_stream,
)
from tests.api.sse import PATH, follow
from tests.services import Process
from tests.waiting import stretched, wait_until


async def test_who_comes_back_is_told_what_came_meanwhile(live: Live, client: Client) -> None:
    async with following(client) as events:
        live.tell(Resync())
        await events.next()
    live.tell(Resync())
    missed = live.ring.last_id
    live.tell(Resync())
    async with following(client, last_id=events.last_id) as again:
        await again.next()
        assert again.last_id == missed
        await again.next()
        assert again.last_id == live.ring.last_id


async def test_an_overview_says_where_the_stream_goes_on(live: Live, ask: Ask, client: Client) -> None:
    last_id = (await ask("GET", OVERVIEW))["last_event_id"]
    live.tell(Resync())
    async with following(client, query=f"?last_event_id={last_id}") as events:
        await events.next()
        assert events.last_id == live.ring.last_id != last_id


async def test_nothing_is_missed_between_the_overview_and_the_stream(
    live: Live, ask: Ask, client: Client, database: Database
) -> None:
    last_id = (await ask("GET", OVERVIEW))["last_event_id"]
    stream_id = await add_stream(database)
    async with following(client, query=f"?last_event_id={last_id}") as events:
        assert (await events.named("stream_created"))["stream"]["stream_id"] == str(stream_id)


@pytest.mark.parametrize(
    "stranger", ["deadbeef-1", "nonsense", "", "-", "deadbeef-99999999999999999999", "ü-1"]
)
async def test_who_comes_from_elsewhere_is_told_to_start_anew(
    live: Live, client: Client, stranger: str
) -> None:
    async with following(client, query=f"?last_event_id={stranger}") as events:
        assert (await events.next())["type"] == "resync"


async def test_who_follows_differences_starts_from_an_overview_of_the_very_process(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    """What another process gave may hold what was so between two of the differences that this one tells."""
    stream_id = await add_stream(database)
    rename = "UPDATE streams SET display_alias = $1"
    async with follow(http, apis[0].url, query=CHANGED), asyncio.timeout(stretched(60)):
        elsewhere = (await get(http, apis[1]))["last_event_id"]
        query = f"{CHANGED}&last_event_id={elsewhere}"
        async with follow(http, apis[0].url, query=query) as events:
            assert await events.next() == {"type": "resync", "overview_follows": True}
            said = await events.next()
            assert said["type"] == "overview"
            assert [each["stream_id"] for each in said["overview"]["streams"]] == [str(stream_id)]
            assert events.last_id == said["overview"]["last_event_id"]
            await database.execute(rename, "another")
            await notify(database, "rt_streams")
            await events.until(
                lambda event: (
                    {"stream_id": str(stream_id), "display_alias": "another"} in event.get("streams", [])
                )
            )
            seen = events.last_id
        # Who comes back to the same process needs none.
        async with follow(http, apis[0].url, query=f"{CHANGED}&last_event_id={seen}") as events:
            await database.execute(rename, "a third")
            await notify(database, "rt_streams")
            assert (await events.next())["type"] == "changed"


async def test_an_id_from_before_a_rest_is_not_known_any_more(
    live: Live, client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_id = (await ask("GET", OVERVIEW))["last_event_id"]
    monkeypatch.setattr("api.live.view.ASKED_LATELY_S", 0.0)
    await wait_until(
        lambda: not live.ring.last_id.startswith(last_id.split("-")[0]), what="the rest to begin"
    )
    async with following(client, last_id=last_id) as events:
        assert (await events.next())["type"] == "resync"


async def test_an_idle_stream_shows_that_it_lives(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "TICK_EVERY_S", 0.05)
    async with following(client) as events:
        await events.named("tick")
        await events.named("tick")
        assert events.comments > 1
        assert events.last_id == live.ring.last_id


async def test_the_answer_begins_at_once_and_is_kept_by_no_proxy(live: Live, client: Client) -> None:
    async with client.get(PATH) as answer:
        assert (await answer.content.readline()).startswith(b"retry:")
        assert await answer.content.readline() == f"id: {live.ring.last_id}\n".encode()
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in answer.headers


async def test_events_pass_the_reverse_proxy_as_they_come_and_over_a_lost_process(
    apis: list[Process], http: aiohttp.ClientSession, database: Database, tmp_path: Path
) -> None:
    addresses = [process.url.removeprefix("http://") for process in apis]
    proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: {"api": addresses})
    child = await proxy.launch()
    try:
        assert await until_answering(child, proxy.answers), child.last_lines(5)
        async with follow(http, proxy.url) as events, asyncio.timeout(stretched(30)):
            await add_stream(database)
            await notify(database, "rt_streams")
            await events.named("stream_created")
            (held,) = [each for each in apis if await each.metric("rtserver_event_streams") == 1]
            await held.kill()
            with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
                await events.named("nothing that there is")
        async with follow(http, proxy.url, last_id=events.last_id) as events, asyncio.timeout(stretched(30)):
            assert (await events.next())["type"] == "resync"
    finally:
        await child.stop(proxy.stop_signals, within_s=5)
