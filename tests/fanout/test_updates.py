"""What is told of streams when it changes: to whom, how often, and what when the database is away at first."""

import asyncio
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from fanout.sender import Saying
from fanout.store.reported import Reader, Reported, Ups
from fanout.updates.devices import say_reported
from fanout.updates.watch import Watch
from shared.db.errors import DatabaseUnavailable
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process

A, B = UUID(int=1), UUID(int=2)


class Recipient:
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def tell(self, saying: Saying) -> None:
        self.received.append(saying.message)


def say(before: int | None, now: int) -> list[Saying]:
    return [] if before == now else [Saying("it", f"{before}>{now}".encode())]


class World:
    """Numbers by stream, which may be unreadable."""

    def __init__(self, process: Process) -> None:
        self.numbers = {A: 1, B: 1}
        self.away = False
        self.while_reading: Callable[[], None] = lambda: None
        self.watch: Watch[int] = Watch(process, "test", channels=[], read=self._read, say=say)

    async def _read(self, _pool: object, stream_ids: list[UUID]) -> dict[UUID, int]:
        if self.away:
            raise DatabaseUnavailable("away")
        found = {each: self.numbers[each] for each in stream_ids if each in self.numbers}
        self.while_reading()
        return found


@pytest.fixture
def world(process: Process) -> World:
    return World(process)


async def test_who_joins_is_told_how_it_is_and_all_what_has_changed(world: World) -> None:
    one, other = Recipient(), Recipient()
    await world.watch.join(one, [A, B])  # the same about both: the newest
    await world.watch.join(other, [B])
    await world.watch.look()
    assert (one.received, other.received) == ([b"None>1"], [b"None>1"])
    world.numbers = {A: 2, B: 1}
    await world.watch.look()
    assert (one.received, other.received) == ([b"None>1", b"1>2"], [b"None>1"])


async def test_who_joins_while_it_changes_misses_nothing_and_neither_do_the_others(world: World) -> None:
    one, other = Recipient(), Recipient()
    await world.watch.join(one, [A])
    world.numbers[A] = 2
    await world.watch.join(other, [A])
    assert other.received == [b"None>2"]
    await world.watch.look()
    assert one.received == [b"None>1", b"1>2"]
    world.numbers[A] = 3
    await world.watch.look()
    assert one.received[2:] == other.received[-1:] == [b"2>3"]


async def test_what_is_looked_at_behind_a_join_is_told_behind_it(world: World) -> None:
    """Both wait for one another in the database: what was read last is what whoever joins is told last."""
    one, late = Recipient(), Recipient()
    await world.watch.join(one, [A])

    def changes() -> None:
        world.numbers[A] += 1

    world.while_reading = changes
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(world.watch.look())
            tasks.create_task(world.watch.join(late, [A]))
    newest = [int(each.rsplit(b">")[-1]) for each in late.received]
    assert newest == sorted(newest)
    assert newest[-1] == world.numbers[A] - 1


async def test_who_could_not_be_told_is_told_as_soon_as_it_can_be_read(world: World) -> None:
    one, late = Recipient(), Recipient()
    await world.watch.join(one, [A])
    world.away = True
    with pytest.raises(DatabaseUnavailable):
        await world.watch.join(late, [A])
    world.away = False
    await world.watch.look()
    assert (one.received, late.received) == ([b"None>1"], [b"None>1"])
    await world.watch.look()
    assert late.received == [b"None>1"]


async def test_who_has_left_is_told_no_more_also_while_it_is_read(world: World) -> None:
    one, other = Recipient(), Recipient()
    for each in (one, other):
        await world.watch.join(each, [A])
    world.while_reading = lambda: world.watch.leave(one, [A])
    world.numbers[A] = 2
    await world.watch.look()
    assert (one.received, other.received) == ([b"None>1"], [b"None>1", b"1>2"])
    world.watch.leave(other, [A])
    assert not world.watch.recipients
    assert not world.watch.told


async def test_a_stream_that_does_not_exist_any_more_says_nothing(world: World) -> None:
    one = Recipient()
    await world.watch.join(one, [uuid4()])
    await world.watch.look()
    assert one.received == []


def said(before: Reported | None, now: Reported) -> list[dict[str, Any]]:
    return [orjson.loads(each.message) for each in say_reported(before, now)]


QUIET = Reported(A, "start", "r", True, None, None)
KNOWN = QUIET._replace(reader=Reader("connected", '{"a": 1}', None), ups=Ups(True, None))


def test_of_readers_of_which_nothing_is_told_only_a_change_of_the_forwarder_is_said() -> None:
    assert said(None, QUIET) == said(QUIET, QUIET) == []
    (changed,) = said(QUIET, QUIET._replace(connected=False))
    assert changed == {
        "kind": "reader_status_changed",
        "stream_id": str(A),
        "reader_ip": "r",
        "connected": False,
    }


def test_what_is_said_of_one_stream_names_it_and_what_several_share_names_none() -> None:
    found = say_reported(QUIET._replace(connected=False), KNOWN)
    named = {orjson.loads(each.message)["kind"]: each.stream for each in found}
    ref = StreamRef("start", "r")
    assert named == {
        "reader_status_changed": ref,
        "receiver_reader_info_update": ref,
        "forwarder_ups_status": None,
    }


def test_what_has_not_changed_is_not_said_again() -> None:
    kinds = ["receiver_reader_info_update", "forwarder_ups_status"]
    assert [each["kind"] for each in said(None, KNOWN)] == kinds
    assert said(KNOWN, KNOWN) == []
    assert said(None, KNOWN)[1] == {
        "kind": "forwarder_ups_status",
        "forwarder_id": "start",
        "available": True,
        "status": None,
    }
    reader = cast("Reader", KNOWN.reader)
    (info,) = said(KNOWN, KNOWN._replace(reader=reader._replace(state="connecting", info=None)))
    assert "reader_info" not in info
    (ups,) = said(KNOWN, KNOWN._replace(ups=Ups(False, '{"battery_percent": 3}')))
    assert ups["status"] == {"battery_percent": 3}
