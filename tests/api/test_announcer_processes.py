"""The announcer of several api processes, and of ones that die: each is announced once, everywhere in one order."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any
from uuid import UUID

import aiohttp
import orjson

from tests.api.announcing import CONFIG, PUBLIC, chip, come_in, finish_line
from tests.api.following import notify
from tests.api.seeds import Database
from tests.services import Process
from tests.waiting import wait_until

EVENTS = "/api/v1/public/announcer/events"
CHIPS = 60


async def enable(http: aiohttp.ClientSession, process: Process, *stream_ids: UUID) -> None:
    wanted = {
        "enabled": True,
        "max_list_size": 500,
        "selected_stream_ids": [str(each) for each in stream_ids],
    }
    async with http.put(process.url + CONFIG, json=wanted) as answer:
        assert answer.status == 200, await answer.text()


async def state(http: aiohttp.ClientSession, process: Process) -> Any:
    async with http.get(process.url + PUBLIC) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def announced(database: Database) -> list[tuple[int, str]]:
    """Return what was announced in the run that goes on, by id."""
    rows = await database.fetch(
        "SELECT announcement_id, tag_id FROM announcements JOIN announcer USING (run_id) ORDER BY announcement_id"
    )
    return [(row["announcement_id"], row["tag_id"]) for row in rows]


async def all_announced(database: Database, number: int) -> bool:
    return len(await announced(database)) >= number


async def heard(answer: aiohttp.ClientResponse, number: int) -> list[int]:
    """Return the ids that a stream tells, until there are so many."""
    ids: list[int] = []
    while len(ids) < number:
        line = await answer.content.readuntil(b"\n")
        assert line, "the stream has ended"
        if line.startswith(b'data: {"row"'):
            ids.append(orjson.loads(line[6:])["row"]["announcement_id"])
    return ids


async def run_in(database: Database, finishes: list[UUID], chips: range, numbers: Iterator[int]) -> None:
    """Have chips come in one by one at two finish lines, each at both, as writers store and notify."""
    for each in chips:
        for stream_id in finishes if each % 2 else finishes[::-1]:
            await come_in(database, stream_id, [each], first_seq=next(numbers))
        await notify(database, "rt_positions")


async def test_two_processes_announce_each_once_and_tell_it_in_the_same_order(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    finishes = [await finish_line(database, name) for name in ("left", "right")]
    await enable(http, apis[0], *finishes)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(http.get(each.url + EVENTS)) for each in apis]
        told = [asyncio.create_task(heard(each, CHIPS)) for each in streams]
        await run_in(database, finishes, range(1, CHIPS + 1), count(1))
        assert await asyncio.gather(*told) == [list(range(1, CHIPS + 1))] * 2
    rows = await announced(database)
    assert [number for number, _ in rows] == list(range(1, CHIPS + 1))
    assert {tag for _, tag in rows} == {chip(each) for each in range(1, CHIPS + 1)}
    first, second = [await state(http, each) for each in apis]
    assert first == second
    assert first["finisher_count"] == CHIPS


async def test_processes_that_die_in_mid_finish_lose_nobody_and_announce_nobody_twice(
    apis: list[Process], http: aiohttp.ClientSession, database: Database, database_url: str
) -> None:
    finishes = [await finish_line(database, name) for name in ("left", "right")]
    await enable(http, apis[0], *finishes)
    numbers = count(1)
    await run_in(database, finishes, range(1, 31), numbers)
    # In the middle of what they are at: looks come five times a second, and the last reads are a moment old.
    await asyncio.gather(*(each.kill() for each in apis))
    before = await announced(database)
    # Nobody is there to announce these.
    await run_in(database, finishes, range(31, CHIPS + 1), numbers)
    again = Process("api", database_url, {})
    await again.start()
    try:
        await again.ready()
        await wait_until(lambda: all_announced(database, CHIPS), what="all are announced")
        rows = await announced(database)
        assert rows[: len(before)] == before
        assert [number for number, _ in rows] == list(range(1, CHIPS + 1))
        assert {tag for _, tag in rows} == {chip(each) for each in range(1, CHIPS + 1)}
        assert (await state(http, again))["finisher_count"] == CHIPS
    finally:
        await again.kill()
