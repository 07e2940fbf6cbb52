"""All tails of a node: one read for all of them, in turns, and none for streams that nobody follows."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from fanout import store
from fanout import tail as tail_module
from fanout.tail import Tails
from shared.database import Connection
from shared.messages import StreamRef
from shared.process import Process
from tests.delivery import stored
from tests.waiting import wait_until


class Follower:
    def __init__(self) -> None:
        self.stirred: set[str] = set()

    def stir(self, ref: StreamRef) -> None:
        self.stirred.add(ref.reader_ip)


class Reads:
    """The reads of the database: the streams that each asked for, in order; they can be held up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[UUID]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._read = store.read_tails
        monkeypatch.setattr(store, "read_tails", self.read)

    async def read(self, connection: Connection, positions: dict[UUID, int]) -> store.News:
        self.asked.append(list(positions))
        news = await self._read(connection, positions)
        await self.go_on.wait()
        return news


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
async def tails(process: Process) -> AsyncIterator[Tails]:
    found = Tails(process)
    yield found
    found._link.drop()


@pytest.fixture
async def ids(database: Connection) -> dict[str, UUID]:
    return {name: await stored.make_stream(database, "start", name) for name in ("a", "b", "c")}


def ref(name: str) -> StreamRef:
    return StreamRef("start", name)


def events(first: int, last: int) -> list[stored.Stored]:
    return [(1, seq, b"aa") for seq in range(first, last + 1)]


async def test_one_read_serves_all_streams_and_all_who_follow_them(
    tails: Tails, database: Connection, ids: dict[str, UUID], reads: Reads
) -> None:
    followers = [Follower() for _ in range(5)]
    for follower in followers:
        for name in "ab":
            tails.follow(ref(name), follower)
    await tails._resolve()
    for follower in followers:
        follower.stirred.clear()
    await stored.store(database, ids["a"], events(1, 3))
    assert await tails._read()
    assert len(reads.asked) == 1
    assert [follower.stirred for follower in followers] == [{"a"}] * 5
    assert (tails._tails[ref("a")].head, tails._tails[ref("b")].head) == (3, 0)


async def test_more_than_one_read_gives_is_read_in_turns(
    tails: Tails,
    database: Connection,
    ids: dict[str, UUID],
    reads: Reads,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "READ_EVENTS", 2)
    monkeypatch.setattr(store, "READ_ALL_EVENTS", 4)
    for name in ids:
        tails.follow(ref(name), Follower())
    await tails._resolve()
    for each in ids.values():
        await stored.store(database, each, events(1, 3))
    assert await tails._read()
    a, b, c = ids.values()
    assert reads.asked == [[a, b, c], [c, a, b], [c, a, b]]
    assert [tail.head for tail in tails._tails.values()] == [3, 3, 3]


async def test_streams_that_nobody_follows_are_not_asked_for(
    tails: Tails, ids: dict[str, UUID], reads: Reads
) -> None:
    follower, other = Follower(), Follower()
    for name in "ab":
        tails.follow(ref(name), follower)
    tails.follow(ref("b"), other)
    await tails._resolve()
    tails.leave([ref("a"), ref("b")], follower)
    await tails._read()
    tails.leave([ref("b")], other)
    await tails._read()
    assert reads.asked == [[ids["b"]]]


async def test_a_tail_that_was_given_up_during_a_read_does_not_come_back(
    tails: Tails, database: Connection, ids: dict[str, UUID], reads: Reads
) -> None:
    old = Follower()
    tails.follow(ref("a"), old)
    await tails._resolve()
    await stored.store(database, ids["a"], events(1, 3))
    reads.go_on.clear()
    reading = asyncio.ensure_future(tails._read())
    await wait_until(lambda: reads.asked, what="the read")
    tails.leave([ref("a")], old)
    anew = tails.follow(ref("a"), Follower())
    reads.go_on.set()
    await reading
    assert tails._tails == {ref("a"): anew}
    assert anew.stream_id is None


async def test_what_was_read_of_a_stream_that_was_made_anew_meanwhile_is_dropped(
    tails: Tails, database: Connection, ids: dict[str, UUID], reads: Reads
) -> None:
    tail = tails.follow(ref("a"), Follower())
    await tails._resolve()
    await stored.store(database, ids["a"], events(1, 3))
    reads.go_on.clear()
    reading = asyncio.ensure_future(tails._read())
    await wait_until(lambda: reads.asked, what="the read")
    await stored.delete_stream(database, ids["a"])
    anew = await stored.make_stream(database, "start", "a")
    await tails._resolve()
    reads.go_on.set()
    await reading
    assert (tail.stream_id, tail.head) == (anew, 0)


async def test_a_name_is_looked_up_again_and_again_and_begins_once(
    tails: Tails, database: Connection, process: Process
) -> None:
    follower = Follower()
    tail = tails.follow(ref("x"), follower)
    for _ in range(2):
        await tails._resolve()
    assert not follower.stirred
    stream_id = await stored.make_stream(database, "start", "x")
    await stored.store(database, stream_id, events(1, 3))
    await tails._resolve()
    assert (tail.stream_id, tail.start, tail.head, follower.stirred) == (stream_id, 3, 3, {"x"})
    follower.stirred.clear()
    await stored.store(database, stream_id, events(4, 5))
    await tails._resolve()
    assert (tail.head, follower.stirred) == (3, set())


@asynccontextmanager
async def tailing(tails: Tails, process: Process) -> AsyncIterator[None]:
    running = asyncio.ensure_future(tails.run_tailing())
    try:
        yield
    finally:
        process.stop.ask()
        await running


async def test_a_bell_has_those_streams_read_that_it_names(
    tails: Tails,
    database: Connection,
    ids: dict[str, UUID],
    process: Process,
    reads: Reads,
) -> None:
    followed = {name: tails.follow(ref(name), Follower()) for name in ids}
    await tails._resolve()
    async with tailing(tails, process):
        await wait_until(lambda: len(reads.asked) == 1, what="the first read, which is of all")
        tails._read_all_at = math.inf  # the next one is not due within the test
        for each in ids.values():
            await stored.store(database, each, events(1, 1), bell=False)
        tails._heard(f"{ids['c']},{ids['a']},{uuid4()}")
        await wait_until(lambda: followed["a"].head and followed["c"].head, what="what was rung for")
        assert reads.asked[1:] == [[ids["a"], ids["c"]]]
        assert followed["b"].head == 0
        tails._heard("")
        await wait_until(lambda: followed["b"].head, what="the rest")


async def test_a_stream_whose_bell_is_lost_is_found_soon_though_others_ring_all_the_time(
    tails: Tails, database: Connection, ids: dict[str, UUID], process: Process
) -> None:
    tail = tails.follow(ref("a"), Follower())
    tails.follow(ref("b"), Follower())
    await tails._resolve()
    async with tailing(tails, process):
        await wait_until(lambda: tails._read_all_at, what="the first read")
        await stored.store(database, ids["a"], events(1, 1), bell=False)

        def found() -> int:
            tails._heard(str(ids["b"]))
            return tail.head

        await wait_until(found, deadline_s=10 * tail_module.POLL_S, what="a read of all streams")
