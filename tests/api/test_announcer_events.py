"""The announcer's event streams: who comes in as it happens, and when everything is to be loaded anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import orjson
import pytest

from api.announcer import routes
from api.announcer.announcing import Announcing
from api.announcer.view import View
from api.app import API
from shared.runtime.process import Process
from tests.api.announcing import (
    CONFIG,
    PUBLIC,
    RESET,
    STATE,
    add_roster,
    chip,
    come_in,
    enable,
    finish_line,
    look,
)
from tests.api.conftest import Ask, Client
from tests.api.following import notify
from tests.api.seeds import Database, add_race
from tests.waiting import wait_until

OWN = "/api/v1/announcer/events"
EVERYBODY = "/api/v1/public/announcer/events"
TOKEN = "a token of some length"

Told: TypeAlias = tuple[str, Any]


class Stream:
    """What comes of an event stream: names and data."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def lines(self) -> list[bytes]:
        """Return the lines up to the next empty one."""
        lines = (await self.answer.content.readuntil(b"\n\n")).split(b"\n")
        assert lines != [b""], "the stream has ended"
        return [each for each in lines if each]

    async def next(self) -> Told:
        """Return the next event."""
        while True:
            fields = dict(each.split(b": ", 1) for each in await self.lines() if b": " in each)
            if b"event" in fields:
                assert fields.keys() == {b"event", b"data"}
                return fields[b"event"].decode(), orjson.loads(fields[b"data"])


@asynccontextmanager
async def following(client: Client, path: str = EVERYBODY) -> AsyncIterator[Stream]:
    """Follow, from when the stream counts as open."""
    async with client.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        stream = Stream(answer)
        assert await stream.lines() == [b"retry: 2000"]
        yield stream


@pytest.fixture
async def view(client: Client, process: Process) -> AsyncIterator[View]:
    """The view of the application, kept looking."""
    view = client.app[API].part(View)
    running = [asyncio.create_task(view.run()), asyncio.create_task(process.listener.run())]
    yield view
    process.stop.ask()
    await running[0]
    running[1].cancel()


@pytest.fixture
async def finish(ask: Ask, database: Database, view: View) -> UUID:
    """The stream of a finish line that is announced."""
    finish = await finish_line(database)
    await enable(ask, finish)
    return finish


async def test_who_comes_in_is_told_to_everybody_and_to_operators_each_in_their_shape(
    client: Client, ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    async with following(client) as public, following(client, OWN) as own:
        await come_in(database, finish, [1, 2])
        await look(process)
        told = [await public.next() for _ in range(2)]
        assert told == [
            (
                "announcer_update",
                {
                    "row": {
                        "announcement_id": n,
                        "bib": None,
                        "display_name": "Unknown",
                        "reader_timestamp": "2026-05-03T10:00:00.000",
                    },
                    "finisher_count": n,
                },
            )
            for n in (1, 2)
        ]
        rows = (await ask("GET", STATE))["rows"][::-1]
        assert [await own.next() for _ in range(2)] == [
            ("announcer_update", {"row": row, "finisher_count": n}) for n, row in enumerate(rows, 1)
        ]


async def test_who_has_come_in_before_is_not_told_again(
    client: Client, process: Process, database: Database, finish: UUID
) -> None:
    await come_in(database, finish, [1])
    await look(process)
    async with following(client) as stream:
        await come_in(database, finish, [2], first_seq=2)
        await look(process)
        assert (await stream.next())[1]["finisher_count"] == 2


Change: TypeAlias = Callable[[Ask, Database, UUID, Process], Awaitable[object]]


async def reset(ask: Ask, _database: Database, _finish: UUID, _process: Process) -> None:
    await ask("POST", RESET, status=204)


async def resize(ask: Ask, _database: Database, finish: UUID, _process: Process) -> None:
    await enable(ask, finish, size=3)


async def disable(ask: Ask, _database: Database, finish: UUID, _process: Process) -> None:
    wanted = {"enabled": False, "max_list_size": 25, "selected_stream_ids": [str(finish)]}
    await ask("PUT", CONFIG, json=wanted)


async def expire(_ask: Ask, database: Database, _finish: UUID, _process: Process) -> None:
    # Nobody says anything of it.
    await database.execute("UPDATE announcer SET enabled_until = now() - interval '1 second'")


async def delete_stream(_ask: Ask, database: Database, _finish: UUID, _process: Process) -> None:
    await database.execute("DELETE FROM streams")


async def another_epoch(_ask: Ask, database: Database, _finish: UUID, process: Process) -> None:
    await database.execute("UPDATE streams SET stream_epoch = 2")
    await look(process)


@pytest.fixture
async def both(client: Client, finish: UUID) -> AsyncIterator[tuple[Stream, Stream]]:
    """The streams of everybody and of operators, followed."""
    async with following(client) as public, following(client, OWN) as own:
        yield public, own


@pytest.mark.parametrize("change", [reset, resize, disable, expire, delete_stream, another_epoch])
async def test_everybody_is_told_to_load_anew_when(
    ask: Ask, process: Process, database: Database, both: tuple[Stream, Stream], change: Change
) -> None:
    finish = await database.fetchval("SELECT stream_id FROM streams")
    await change(ask, database, finish, process)
    for stream in both:
        assert await stream.next() == ("resync", {})


async def test_a_name_that_is_another_has_everybody_load_anew_and_others_do_not(
    client: Client, ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    race_id = await add_race(database)
    await database.execute("INSERT INTO forwarder_races SELECT forwarder_id, $1 FROM streams", race_id)
    await come_in(database, finish, [1])
    await look(process)
    async with following(client) as stream:
        # Of nobody who is shown.
        await add_roster(database, race_id, {8: ("Alan", [9])})
        await notify(database, "rt_races")
        await come_in(database, finish, [2], first_seq=2)
        await look(process)
        assert (await stream.next())[1]["finisher_count"] == 2
        await add_roster(database, race_id, {7: ("Ada", [1])})
        await notify(database, "rt_races")
        assert await stream.next() == ("resync", {})
        assert (await ask("GET", PUBLIC))["rows"][1]["display_name"] == "Ada Doe"


async def test_who_is_too_slow_for_what_is_kept_loads_anew(
    client: Client, process: Process, database: Database, finish: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.announcer.view.LARGEST_LIST", 2)
    view = client.app[API].part(View)
    with view.following("public"):
        slow = await view.join("public")
        async with following(client) as stream:
            await come_in(database, finish, [1, 2, 3, 4])
            await look(process)
            assert await stream.next() == ("resync", {})
        assert view.take(slow) == b"event: resync\ndata: {}\n\n"
        assert view.take(slow) == b""


async def test_who_finds_a_gap_in_what_is_kept_gets_what_lies_before_it_and_loads_anew(
    client: Client, process: Process, database: Database, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look reads the list anew, for the names on it, and the list is short: what lies between two looks is not
    # on it.
    monkeypatch.setattr("api.announcer.view.NAMES_EVERY_S", 0)
    finish = await finish_line(database)
    await enable(ask, finish, size=1)
    view = client.app[API].part(View)
    slow = await view.join("public")
    for first, chips in ((1, [1]), (2, [2, 3])):
        await come_in(database, finish, chips, first_seq=first)
        await look(process)
        monkeypatch.setattr("api.announcer.view.POLL_S", -1)
        await view.join("public")
    told = view.take(slow)
    assert told.count(b"event: ") == 1
    assert b'"finisher_count":1}' in told
    assert view.take(slow) == b"event: resync\ndata: {}\n\n"
    assert view.take(slow) == b""


async def test_who_takes_nothing_is_dropped_and_costs_no_more_than_what_its_connection_holds(
    client: Client, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.event_streams.CLIENT_WAITS_S", 0.2)
    taken = b": %b\n\n" % (b"x" * 2**20)
    monkeypatch.setattr(view, "take", lambda _follower: taken)
    async with client.get(EVERYBODY) as answer:
        assert answer.status == 200
        await wait_until(lambda: _left(view), what="it is dropped")
        # And not ended in an orderly way, for which what waits in its buffer would have to be taken first.
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def _left(view: View) -> bool:
    return view.followers["public"] == 0


@pytest.mark.usefixtures("finish")
async def test_a_silent_stream_shows_that_it_lives(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "COMMENT_EVERY_S", 0.05)
    async with following(client) as stream:
        assert [await stream.lines() for _ in range(2)] == [[b":"], [b":"]]


@pytest.mark.usefixtures("finish")
async def test_one_too_many_is_refused_and_operators_have_their_place(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "LISTENERS_AT_ONCE", 1)
    async with following(client):
        async with client.get(EVERYBODY) as answer:
            assert answer.status == 503
        async with following(client, OWN):
            pass
    view = client.app[API].part(View)
    await wait_until(lambda: _left(view), what="it has left")
    async with following(client):
        pass


async def test_nobody_looks_when_nobody_follows(
    client: Client, ask: Ask, database: Database, finish: UUID, view: View
) -> None:
    # Each of these wakes it.
    for n in range(5):
        await enable(ask, finish, size=5 + n)
        await notify(database, "rt_races")
    assert view.looks == 0
    async with following(client):
        assert view.looks >= 1


# --- who may see it --------------------------------------------------------------------------------------


async def test_everybody_sees_what_is_public_and_nothing_else(
    serve: Callable[..., Awaitable[Client]],
) -> None:
    client = await serve(api_token=TOKEN)
    for path in (PUBLIC, "/announcer", "/announcer/announcer.js", "/announcer/announcer.css"):
        async with client.get(path) as answer:
            assert answer.status == 200, path
    async with client.get(EVERYBODY) as answer:
        assert answer.status == 200
    for method, path in (
        ("GET", CONFIG),
        ("PUT", CONFIG),
        ("POST", RESET),
        ("GET", STATE),
        ("GET", OWN),
        ("POST", PUBLIC),
        ("GET", "/announcer/"),
        ("GET", "/api/v1/public/announcer"),
        ("GET", "/api/v1/public/announcer/config"),
        ("GET", "/announcer/../static/main.js"),
    ):
        async with client.request(method, path) as answer:
            assert answer.status == 401, (method, path)


async def test_the_loop_announces_by_itself(
    client: Client, ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    running = asyncio.create_task(Announcing(process).run())
    async with following(client) as stream:
        await come_in(database, finish, [1])
        await notify(database, "rt_positions")
        assert (await stream.next())[0] == "announcer_update"
    assert [row["chip_id"] for row in (await ask("GET", STATE))["rows"]] == [chip(1)]
    process.stop.ask()
    await running
