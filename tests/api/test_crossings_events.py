"""Crossings as they happen: new and changed ones, and when all are to be loaded anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from api.app import API
from api.crossings import feed as feeds
from api.crossings import view as views
from api.crossings.feed import RESYNC, Feed
from api.crossings.store import passings
from api.crossings.store.changed import changed
from api.crossings.view import View
from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Client
from tests.api.crossed import arrange, come_by, make_race, tag
from tests.api.following import notify
from tests.api.seeds import Database
from tests.api.segmented import add_segment
from tests.api.sse import Events
from tests.api.test_crossings import at, crossings
from tests.api.test_races import form
from tests.waiting import wait_until


@asynccontextmanager
async def following(client: Client, race: str, query: str = "") -> AsyncIterator[Events]:
    """Follow, from when the stream counts as open."""
    async with client.get(f"{RACES}/{race}/crossings/events{query}") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        yield Events(answer)


@pytest.fixture
async def view(client: Client, process: Process) -> AsyncIterator[View]:
    """The view of the application, kept looking."""
    view = client.app[API].part(View)
    running = [asyncio.create_task(view.run()), asyncio.create_task(process.listener.run())]
    yield view
    process.stop.ask()
    await running[0]
    running[1].cancel()


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["point"], event["bib"], event["chip"], [each["crossed_at"] for each in event["crossings"]]


async def test_who_comes_by_is_told_with_all_that_is_known_of_them_there(
    ask: Ask, client: Client, database: Database, view: View
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["left", "right"])
    await come_by(database, streams["gun"], [(1, 0)])
    async with following(client, race) as events, following(client, race, "?gap=60") as wide:
        # What was there before is not told: it is loaded.
        assert len(await crossings(ask, race)) == 1
        await come_by(database, streams["gun"], [(1, 3)])
        assert told(await events.next()) == ("1", 1, None, [at(3)])
        assert told(await wide.next()) == ("1", 1, None, [at(3)])
        await come_by(database, streams["left"], [(7, 100)])
        assert told(await events.next()) == ("2", None, tag(7), [at(100)])
        assert told(await wide.next()) == ("2", None, tag(7), [at(100)])
        # A late read of a twin, and one that comes again: what is told takes the place of what was.
        await come_by(database, streams["right"], [(7, 99), (7, 130)])
        event = await events.next()
        assert told(event) == ("2", None, tag(7), [at(130), at(99)])
        assert told(await wide.next()) == ("2", None, tag(7), [at(99)])
    [row, *_] = event["crossings"]
    assert (row["reads"], row["runner_up"], row["read_count"]) == ([], None, 1)
    await wait_until(lambda: view.followers == 0)


async def test_what_may_change_all_crossings_is_to_be_loaded_anew(
    ask: Ask, client: Client, database: Database, view: View
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["line"], [(1, 0), (2, 1), (1, 2)])
    async with following(client, race) as events:
        await ask("POST", f"{RACES}/{race}/chips/upload", data=form(f"2,{tag(1)}\n"))
        assert await events.next() == {"type": "resync"}
        await ask("PUT", f"{RACES}/{race}/course", json={"points": []})
        assert await events.next() == {"type": "resync"}
        await add_segment(database, UUID(race), streams["line"], (1, 2), None)
        assert await events.next() == {"type": "resync"}
        # Filled anew: what stood behind what was known is before it now.
        await database.execute("DELETE FROM passings_progress")
        assert await events.next() == {"type": "resync"}
        await come_by(database, streams["line"], [])
        assert {each["bib"] for each in [await events.next(), await events.next()]} == {2, None}
        await ask("DELETE", f"{RACES}/{race}", status=204)
        assert await events.next() == {"type": "resync"}
        with pytest.raises(AssertionError, match="the stream has ended"):
            await events.next()


async def test_a_stream_that_was_made_anew_before_the_next_look_is_to_be_loaded_anew(
    ask: Ask, client: Client, database: Database, view: View
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["line"], [(1, 0), (2, 60)])
    async with following(client, race) as events:
        # Over before anybody can look: as far as it was, and further.
        for later in ([], [(3, 120)]):
            async with database.transaction():
                await database.execute("DELETE FROM events WHERE seq = (SELECT min(seq) FROM events)")
                await database.execute("DELETE FROM passings_progress")
                await come_by(database, streams["line"], later)
            assert await events.next() == {"type": "resync"}
        # From there on it goes on.
        await come_by(database, streams["line"], [(1, 180)])
        assert told(await events.next()) == ("2", 1, None, [at(180)])


async def test_more_than_a_look_takes_comes_with_the_next(
    ask: Ask, client: Client, database: Database, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PAGE", 5)
    monkeypatch.setattr(views, "TOLD_AT_ONCE", 2)
    of_people, asked = passings.of_people, []

    async def counted(*given: Any, **more: Any) -> Any:
        asked.append(len(given[2]))
        return await of_people(*given, **more)

    monkeypatch.setattr(passings, "of_people", counted)
    race = await make_race(ask, "\n".join(f"{n},{n}" for n in range(1, 8)))
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    async with following(client, race) as events:
        await come_by(database, streams["gun"], [(n, n) for n in range(1, 8)])
        assert sorted([(await events.next())["bib"] for _ in range(7)]) == list(range(1, 8))
    assert max(asked) == 2


async def test_all_streams_share_what_a_look_takes(ask: Ask, database: Database, process: Process) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Half=["half"], Finish=["line"])
    await come_by(database, streams["gun"], [(50, 0)])
    known = (await changed(process.pool, UUID(race), {}, at_most=4)).known
    for stream in ("gun", "half"):
        await come_by(database, streams[stream], [(n, n) for n in range(1, 8)])
    found: list[tuple[str, str]] = []
    for _ in range(3):
        news = await changed(process.pool, UUID(race), known, at_most=4)
        # What has nothing new takes no room from the two that have.
        assert (len(news.found), news.more) == (4, True)
        found, known = [*found, *news.found], news.known
    news = await changed(process.pool, UUID(race), known, at_most=4)
    assert (len(news.found), news.more) == (2, False)
    assert sorted([*found, *news.found]) == sorted((at, tag(n)) for at in ("1", "2") for n in range(1, 8))


async def test_a_race_whose_look_fails_keeps_no_other_from_being_told(
    ask: Ask, client: Client, database: Database, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, race = [await make_race(ask, name=name) for name in ("a", "b")]
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    course, failed = passings.course, []

    async def failing(database: Any, race_id: UUID) -> Any:
        if str(race_id) == broken:
            failed.append(race_id)
            raise DatabaseUnavailable("it takes too long")
        return await course(database, race_id)

    async with following(client, broken), following(client, race) as events:
        monkeypatch.setattr(passings, "course", failing)
        await wait_until(lambda: bool(failed))
        await come_by(database, streams["gun"], [(1, 0)])
        assert told(await events.next()) == ("1", 1, None, [at(0)])
        monkeypatch.undo()


async def test_of_very_many_at_one_point_the_newest_are_told(
    ask: Ask, client: Client, database: Database, view: View
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    async with following(client, race) as events:
        await come_by(database, streams["line"], [(1, 60 * n) for n in range(23)])
        event = await events.next()
        assert (len(event["crossings"]), event["more"]) == (20, 3)
        assert event["crossings"][0]["crossed_at"] == at(60 * 22)


async def test_every_process_tells_the_same_whichever_fills(
    ask: Ask, client: Client, serve: Any, database: Database, view: View
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    other = await serve()
    running = asyncio.create_task(other.app[API].part(View).run())
    async with following(client, race) as here, following(other, race) as there:
        for n in range(5):
            await come_by(database, streams["line"], [(1, 60 * n), (2, 60 * n + 1)])
            await notify(database, "rt_passings")
            both = [[await each.next(), await each.next()] for each in (here, there)]
            assert both[0] == both[1]
    running.cancel()


async def test_followers_have_a_bound(
    ask: Ask, client: Client, database: Database, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    races = [await make_race(ask, name=name) for name in ("a", "b")]
    monkeypatch.setattr(views, "RACES_AT_ONCE", 1)
    monkeypatch.setattr(views, "GAPS_AT_ONCE", 1)
    monkeypatch.setattr(views, "FOLLOWERS_AT_ONCE", 2)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(following(client, races[0], "?gap=7"))
        for race, query, reason in ((races[1], "", "1 races"), (races[0], "", "take one of 7")):
            refused = await ask("GET", f"{RACES}/{race}/crossings/events{query}", status=503)
            assert reason in refused["message"]
        await stack.enter_async_context(following(client, races[0], "?gap=7"))
        refused = await ask("GET", f"{RACES}/{races[0]}/crossings/events?gap=7", status=503)
        assert "2 event streams" in refused["message"]
    await wait_until(lambda: view.followers == 0)
    async with following(client, races[1]):
        pass


async def test_a_race_that_is_not_there_is_refused_and_takes_no_place(
    ask: Ask, client: Client, view: View
) -> None:
    for _ in range(views.RACES_AT_ONCE + 1):
        await ask("GET", f"{RACES}/{UUID(int=7)}/crossings/events", status=404)
    assert view.followers == 0
    race = await make_race(ask)
    async with client.head(f"{RACES}/{race}/crossings/events") as answer:
        assert answer.status == 200
    await ask("GET", f"{RACES}/{race}/crossings/events?gap=0", status=400)


def test_who_is_slower_than_what_is_kept_loads_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT_MESSAGES", 3)
    monkeypatch.setattr(feeds, "KEPT_BYTES", 10)
    feed = Feed()
    feed.tell([b"1", b"2"])
    assert feed.take(0, at_most=100) == (b"12", 2)
    feed.tell([b"3", b"4", b"5"])
    assert feed.take(0, at_most=100) == (RESYNC, 5)
    assert feed.take(2, at_most=100) == (b"345", 5)
    # By bytes, too, and where a single one is too large.
    feed.tell([b"x" * 9])
    assert feed.take(4, at_most=100) == (b"5" + b"x" * 9, 6)
    feed.tell([b"x" * 11])
    assert feed.take(6, at_most=100) == (RESYNC, 7)
    assert feed.take(7, at_most=100) == (b"", 7)
