"""Boundaries that several api processes move at once, and those who do not follow them: the announcer, receivers."""

import asyncio
from typing import Any
from uuid import UUID

import aiohttp

from api.announcer.announcing import Announcing
from shared.runtime.process import Process as Running
from tests.api.announcing import PUBLIC, chip, come_in, enable, finish_line
from tests.api.conftest import RACES, Ask
from tests.api.seeds import Database, add_metrics, add_race, add_stream
from tests.api.segmented import add_segment
from tests.services import Process

GAP = 20


async def test_two_processes_that_move_towards_each_other_do_not_meet(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    stream = await add_stream(database)
    await add_metrics(database, stream, dedup=GAP)
    a, b = await add_race(database, "A"), await add_race(database, "B")

    async def put(process: Process, race: UUID, begins: int, ends: int) -> tuple[int, Any]:
        async with http.get(f"{process.url}{RACES}/{race}/segments") as answer:
            streams = (await answer.json())["streams"]
        fingerprint = streams[0]["fingerprint"]
        segment = {"begins": {"epoch": 1, "seq": begins}, "ends": {"epoch": 1, "seq": ends}}
        body = {"segments": [segment], "expected_fingerprint": fingerprint}
        async with http.put(f"{process.url}{RACES}/{race}/segments/{stream}", json=body) as answer:
            return answer.status, await answer.json()

    await add_segment(database, a, stream, (1, 1), (1, 2))
    await add_segment(database, b, stream, (1, GAP), (1, GAP + 1))
    # Each takes all that lies between them.
    answers = await asyncio.gather(put(apis[0], a, 1, GAP), put(apis[1], b, 2, GAP + 1))
    assert sorted(status for status, _ in answers) == [200, 409]
    rows = await database.fetch("SELECT from_seq, to_seq FROM race_segments ORDER BY from_seq")
    assert [tuple(row) for row in rows] in ([(1, GAP), (GAP, GAP + 1)], [(1, 2), (2, GAP + 1)])
    assert await database.fetchval("SELECT count(*) FROM segment_changes") == 1


async def test_who_was_announced_stays_and_who_comes_then_is_of_the_other_race(
    ask: Ask, database: Database, process: Running
) -> None:
    finish = await finish_line(database, "finish")
    a, b = await add_race(database, "A"), await add_race(database, "B")
    for race, name in ((a, "Ada"), (b, "Bea")):
        for bib in (1, 2):
            await database.execute(
                "INSERT INTO participants VALUES ($1, $2, $3, 'X', NULL, 'F')", race, bib, f"{name} {bib}"
            )
            await database.execute("INSERT INTO chips VALUES ($1, $2, $3, 1, true)", race, chip(bib), bib)
    await enable(ask, finish)
    await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", finish, a)
    announcing = Announcing(process)
    await come_in(database, finish, [1])
    assert await announcing.look() == 1

    async def called() -> list[tuple[int, str]]:
        found = (await ask("GET", PUBLIC))["rows"]
        return [(each["announcement_id"], each["display_name"]) for each in found]

    assert await called() == [(1, "Ada 1 X")]
    # From the second read on it is another race's.
    await add_segment(database, b, finish, (1, 2), None)
    await come_in(database, finish, [2], first_seq=2)
    assert await announcing.look() == 1
    assert await called() == [(2, "Bea 2 X"), (1, "Ada 1 X")]
    await database.execute("UPDATE race_segments SET from_seq = 1")
    # The first one's number is his, whoever wears his chip in that race; nobody is announced again.
    assert [number for number, _ in await called()] == [2, 1]
    assert await announcing.look() == 0
