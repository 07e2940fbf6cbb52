"""Which stream each name stands for that receivers follow: looked up when one is announced, and now and then."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from fanout import tail as tail_module
from fanout.store.streams import Resolved, resolve_streams
from fanout.tail import Tails
from shared.db.connections import Connection, Pool
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process
from tests.delivery import stored
from tests.fanout.conftest import Follower, ref, resolve
from tests.waiting import wait_until


class Names:
    """The look-ups of names, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[set[str]] = []
        self._resolve = resolve_streams
        monkeypatch.setattr(tail_module, "resolve_streams", self.resolve)

    async def resolve(self, pool: Pool, refs: Sequence[StreamRef]) -> dict[StreamRef, Resolved]:
        found = await self._resolve(pool, refs)
        self.asked.append({each.reader_ip for each in refs})
        return found


async def test_an_announcement_has_only_names_looked_up_that_are_not_known(
    database: Connection,
    ids: dict[str, UUID],
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail_module, "RESOLVE_S", 600.0)
    tails = Tails(process)  # whose loop takes it from there
    names = Names(monkeypatch)
    followed = {name: tails.follow(ref(name), Follower()) for name in (*ids, "x", "y")}
    resolving = asyncio.ensure_future(tails.run_resolving())
    await wait_until(lambda: names.asked, what="the first look, which is at all")
    await stored.make_stream(database, "start", "x")
    tails.on_announcement("")
    await wait_until(lambda: followed["x"].stream_id, what="the new stream")
    tails.on_announcement("")
    await wait_until(lambda: len(names.asked) == 3, what="another look")
    process.stop.ask()
    await resolving
    assert names.asked[:3] == [{"a", "b", "c", "x", "y"}, {"x", "y"}, {"y"}]


async def test_a_stream_that_was_made_anew_unnoticed_is_found_at_the_next_look_at_all(
    database: Connection,
    ids: dict[str, UUID],
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail_module, "RESOLVE_S", 0.02)
    tails = Tails(process)
    tail = tails.follow(ref("a"), Follower())
    resolving = asyncio.ensure_future(tails.run_resolving())
    await wait_until(lambda: tail.stream_id, what="the stream")
    await stored.delete_stream(database, ids["a"])
    anew = await stored.make_stream(database, "start", "a")
    await wait_until(lambda: tail.stream_id == anew, what="the new stream of that name")
    process.stop.ask()
    await resolving


async def test_names_that_stand_for_no_stream_are_told_apart_and_known_ones_are_not_asked_for(
    tails: Tails, ids: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower()
    for name in "ax":
        tails.follow(ref(name), follower)
    await resolve(tails)
    names = Names(monkeypatch)
    asked = [ref(name) for name in "xbacy"]
    assert await tails.existing(asked) == [ref(name) for name in "bac"]
    assert await tails.existing([ref("a")]) == [ref("a")]
    assert names.asked == [set("xbcy")]
    assert set(tails.tails) == {ref("a"), ref("x")}


async def test_what_is_read_while_names_are_looked_up_is_no_restored_backup(
    database: Connection, ids: dict[str, UUID], process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    tails = Tails(process)
    tail = tails.follow(ref("a"), Follower())
    await resolve(tails)

    async def answered_late(pool: Pool, refs: Sequence[StreamRef]) -> dict[StreamRef, Resolved]:
        found = await resolve_streams(pool, refs)
        await stored.store(database, ids["a"], [(1, 1, b"aa")])
        await tails.read()
        return found

    monkeypatch.setattr(tail_module, "resolve_streams", answered_late)
    await resolve(tails)
    tails.link.drop()
    assert tail.head == 1
