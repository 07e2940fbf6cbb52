"""All tails of a node: one read for all of them, in turns, and none for streams that nobody follows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from fanout import tail as tail_module
from fanout import window
from fanout.generation import FIRST
from fanout.store import events as store
from fanout.tail import Tails
from shared.db.connections import Connection
from shared.errors import ProtocolError
from shared.runtime.process import Process
from tests.delivery import stored
from tests.fanout.conftest import Follower, ref, resolve
from tests.waiting import wait_until


class Reads:
    """The reads of the database: the streams that each asked for, in order; they can be held up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[UUID]] = []
        self.done = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._read = store.read_tails
        monkeypatch.setattr(store, "read_tails", self.read)

    async def read(self, connection: Connection, positions: dict[UUID, int]) -> store.News:
        self.asked.append(list(positions))
        news = await self._read(connection, positions)
        await self.go_on.wait()
        self.done += 1
        return news


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
async def unpolled(process: Process, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tails]:
    """Tails of which no poll is due within a test."""
    monkeypatch.setattr(
        tail_module, "POLL_S", 3_600.0
    )  # before they are made: their loop takes it from there
    found = Tails(process)
    yield found
    found.link.drop()


def events(first: int, last: int) -> list[stored.Stored]:
    return [(1, seq, b"aa") for seq in range(first, last + 1)]


async def test_one_read_serves_all_streams_and_all_who_follow_them(
    tails: Tails, database: Connection, ids: dict[str, UUID], reads: Reads
) -> None:
    followers = [Follower() for _ in range(5)]
    for follower in followers:
        for name in "ab":
            tails.follow(ref(name), follower)
    await resolve(tails)
    for follower in followers:
        follower.woken.clear()
    await stored.store(database, ids["a"], events(1, 3))
    assert await tails.read()
    assert len(reads.asked) == 1
    assert [follower.woken for follower in followers] == [{"a"}] * 5
    assert (tails.tails[ref("a")].head, tails.tails[ref("b")].head) == (3, 0)


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
    await resolve(tails)
    for each in ids.values():
        await stored.store(database, each, events(1, 3))
    assert await tails.read()
    a, b, c = ids.values()
    assert reads.asked == [[a, b, c], [c, a, b], [c, a, b]]
    assert [tail.head for tail in tails.tails.values()] == [3, 3, 3]


async def test_streams_that_nobody_follows_are_not_asked_for(
    tails: Tails, ids: dict[str, UUID], reads: Reads
) -> None:
    follower, other = Follower(), Follower()
    for name in "ab":
        tails.follow(ref(name), follower)
    tails.follow(ref("b"), other)
    await resolve(tails)
    tails.leave([ref("a"), ref("b")], follower)
    await tails.read()
    tails.leave([ref("b")], other)
    await tails.read()
    assert reads.asked == [[ids["b"]]]


async def test_a_tail_that_was_given_up_during_a_read_does_not_come_back(
    tails: Tails, database: Connection, ids: dict[str, UUID], reads: Reads
) -> None:
    old = Follower()
    tails.follow(ref("a"), old)
    await resolve(tails)
    await stored.store(database, ids["a"], events(1, 3))
    reads.go_on.clear()
    reading = asyncio.ensure_future(tails.read())
    await wait_until(lambda: reads.asked, what="the read")
    tails.leave([ref("a")], old)
    anew = tails.follow(ref("a"), Follower())
    reads.go_on.set()
    await reading
    assert tails.tails == {ref("a"): anew}
    assert anew.stream_id is None


async def test_what_was_read_of_a_stream_that_was_made_anew_meanwhile_is_dropped(
    tails: Tails, database: Connection, ids: dict[str, UUID], reads: Reads
) -> None:
    tail = tails.follow(ref("a"), Follower())
    await resolve(tails)
    await stored.store(database, ids["a"], events(1, 3))
    reads.go_on.clear()
    reading = asyncio.ensure_future(tails.read())
    await wait_until(lambda: reads.asked, what="the read")
    await stored.delete_stream(database, ids["a"])
    anew = await stored.make_stream(database, "start", "a")
    await resolve(tails)
    reads.go_on.set()
    await reading
    assert (tail.stream_id, tail.head) == (anew, 0)


async def test_a_name_is_looked_up_again_and_again_and_begins_once(
    tails: Tails, database: Connection, process: Process
) -> None:
    follower = Follower()
    tail = tails.follow(ref("x"), follower)
    for _ in range(2):
        await resolve(tails)
    assert not follower.woken
    stream_id = await stored.make_stream(database, "start", "x")
    await stored.store(database, stream_id, events(1, 3))
    await resolve(tails)
    assert (tail.stream_id, tail.window(FIRST).start, tail.head, follower.woken) == (stream_id, 3, 3, {"x"})
    follower.woken.clear()
    await stored.store(database, stream_id, events(4, 5))
    await resolve(tails)
    assert (tail.head, follower.woken) == (3, set())


@asynccontextmanager
async def tailing(tails: Tails, process: Process) -> AsyncIterator[None]:
    running = asyncio.ensure_future(tails.run_tailing())
    try:
        yield
    finally:
        process.stop.ask()
        await running


async def test_a_notification_has_those_streams_read_that_it_names(
    unpolled: Tails, database: Connection, ids: dict[str, UUID], process: Process, reads: Reads
) -> None:
    tails = unpolled
    followed = {name: tails.follow(ref(name), Follower()) for name in ids}
    await resolve(tails)
    async with tailing(tails, process):
        # To its end: what is stored before that may be in it.
        await wait_until(lambda: reads.done == 1, what="the first read, which is of all")
        for each in ids.values():
            await stored.store(database, each, events(1, 1), notify=False)
        tails.on_notification(f"{ids['c']},{ids['a']},{uuid4()}")
        await wait_until(lambda: followed["a"].head and followed["c"].head, what="what was notified")
        assert [set(each) for each in reads.asked[1:]] == [{ids["a"], ids["c"]}]
        assert followed["b"].head == 0
        tails.on_notification("")
        await wait_until(lambda: followed["b"].head, what="the rest")


async def test_what_nobody_has_come_near_is_read_when_somebody_does(
    unpolled: Tails,
    database: Connection,
    ids: dict[str, UUID],
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "WINDOW_EVENTS", 4)
    monkeypatch.setattr(store, "READ_EVENTS", 2)
    tails = unpolled
    for name in "ab":
        tails.follow(ref(name), Follower())
    await resolve(tails)
    await stored.store(database, ids["a"], events(1, 8))
    async with tailing(tails, process):
        tails.on_notification("")
        slow, other = tails.tails[ref("a")], tails.tails[ref("b")]
        await wait_until(lambda: slow.head == 2, what="half a window")
        await stored.store(database, ids["b"], events(1, 1))
        tails.on_notification("")
        await wait_until(lambda: other.head == 1, what="a stream that nothing holds up")
        assert slow.head == 2
        for position in range(1, 9):
            slow.reached(position)
            await wait_until(lambda: slow.head >= min(slow.foremost + 1, 8), what="what follows")
            assert slow.window(FIRST).start <= position  # it is still there for who takes it
            assert slow.head <= position + 4


async def test_a_stream_whose_notification_is_lost_is_found_soon_though_others_are_notified_all_the_time(
    tails: Tails, database: Connection, ids: dict[str, UUID], process: Process
) -> None:
    tail = tails.follow(ref("a"), Follower())
    tails.follow(ref("b"), Follower())
    await resolve(tails)
    async with tailing(tails, process):
        await wait_until(lambda: tails.read_all_at, what="the first read")
        await stored.store(database, ids["a"], events(1, 1), notify=False)

        def found() -> int:
            tails.on_notification(str(ids["b"]))
            return tail.head

        await wait_until(found, deadline_s=10 * tail_module.POLL_S, what="a read of all streams")


# --- bounds ---


def window_bytes(tails: Tails) -> int:
    """Count the windows, and make sure that the node's count of them is right."""
    found = sum(
        sum(len(event.json) for event in tail.window(FIRST).between(0, tail.head))
        for tail in tails.tails.values()
    )
    assert tails.window_bytes == found
    return found


async def test_all_windows_together_are_bounded_and_whose_stream_rests_goes_first(
    tails: Tails, database: Connection, ids: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = {name: tails.follow(ref(name), Follower()) for name in ids}
    await resolve(tails)
    await stored.store(database, ids["a"], events(1, 10))
    await tails.read()
    monkeypatch.setattr(tail_module, "ALL_WINDOWS_BYTES", 29 * window_bytes(tails) // 10)
    for name in "bc":
        await stored.store(database, ids[name], events(1, 10))
        await tails.read()
        assert window_bytes(tails) <= tail_module.ALL_WINDOWS_BYTES
    # Emptied is the one that moved longest ago; whoever is behind its head has to read pages, who is not waits.
    assert [followed[name].window(FIRST).after(0, 1) is None for name in "abc"] == [True, False, False]
    assert followed["a"].window(FIRST).after(10, 1) is not None
    await stored.store(database, ids["a"], events(11, 12))
    await tails.read()
    found = followed["a"].window(FIRST).after(10, 9)
    assert found is not None
    assert (found[0].event_count, found[1]) == (2, 12)
    assert followed["a"].window(FIRST).after(9, 9) is None


async def test_windows_are_counted_out_when_they_go(
    tails: Tails, database: Connection, ids: dict[str, UUID]
) -> None:
    follower = Follower()
    for name in ids:
        tails.follow(ref(name), follower)
    await resolve(tails)
    for each in ids.values():
        await stored.store(database, each, events(1, 3))
    await tails.read()
    all_of_them = window_bytes(tails)
    tails.leave([ref("a")], follower)
    assert window_bytes(tails) == all_of_them * 2 // 3
    await stored.delete_stream(database, ids["b"])
    await stored.make_stream(database, "start", "b")
    await resolve(tails)
    assert window_bytes(tails) == all_of_them // 3
    tails.leave([ref("b"), ref("c")], follower)
    assert window_bytes(tails) == 0


async def test_a_node_follows_so_many_streams_and_no_more(
    tails: Tails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "MOST_TAILS", 2)
    one, two = Follower(), Follower()
    for name in "ab":
        tails.follow(ref(name), one)
    with pytest.raises(ProtocolError) as refused:
        tails.follow(ref("c"), two)
    assert refused.value.code == "INTERNAL_ERROR"  # who is refused is not at fault, and may try again
    tails.follow(ref("a"), two)
    tails.leave([ref("b")], one)
    tails.follow(ref("c"), two)
    assert set(tails.tails) == {ref("a"), ref("c")}
