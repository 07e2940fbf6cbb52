"""Deleted cursors, names of no stream, new epochs, emptied windows: nothing is left out, and no old ack counts."""

from uuid import UUID

import asyncpg
import pytest

from fanout import tail as tail_module
from fanout import turns as turns_module
from fanout.delivery import NOTHING, Cursor
from fanout.generation import FIRST
from fanout.node import Node
from shared.db.connections import Connection
from shared.protocol.v1 import AckEntry, StreamRef
from tests.delivery import stored
from tests.fanout.conftest import resolve
from tests.fanout.receiving import Receiver, all_begun, quiet, running
from tests.waiting import wait_until


async def rows(database: Connection) -> dict[int, Cursor]:
    """Return the cursors of the one receiver and stream by epoch."""
    found = await database.fetch("SELECT stream_epoch, last_seq, position, event_count FROM receiver_cursors")
    return {epoch: Cursor(*cursor) for epoch, *cursor in found}


async def delete_cursors(node: Node, database: Connection) -> None:
    """Delete all cursors, and let the node look as if it had been told."""
    await database.execute("DELETE FROM receiver_cursors")
    node.cursors.on_notification("")
    await node.cursors.look_for_deletions()


async def test_a_receiver_that_is_idle_when_its_cursors_are_deleted_gets_everything_again(
    receiver: Receiver, database: Connection
) -> None:
    ref = await receiver.stream("1", 5)
    await receiver.got_until(ref, 5)
    await receiver.node.cursors.flush()
    await delete_cursors(receiver.node, database)
    await wait_until(lambda: len(receiver.got(ref)) == 10)
    await quiet(lambda: receiver.got(ref))
    assert receiver.got(ref) == [1, 2, 3, 4, 5] * 2
    assert await rows(database) == {1: NOTHING}
    receiver.ack(ref, 5)
    await receiver.node.cursors.flush()
    assert await rows(database) == {1: Cursor(5, 5, 5)}


async def test_an_ack_that_waits_to_be_written_does_not_put_a_deleted_cursor_back(
    receiver: Receiver, database: Connection
) -> None:
    ref = await receiver.stream("1", 5)
    await wait_until(lambda: len(receiver.got(ref)) == 5)
    receiver.ack(ref, 5)
    await database.execute("DELETE FROM receiver_cursors")
    await receiver.node.cursors.flush()
    await wait_until(lambda: len(receiver.got(ref)) == 10)
    await receiver.node.cursors.flush()
    assert await rows(database) == {1: NOTHING}


async def test_acks_of_what_was_sent_before_a_deletion_do_not_count_after_it(
    receiver: Receiver, database: Connection
) -> None:
    ref = await receiver.stream("1", 5)
    await wait_until(lambda: len(receiver.got(ref)) == 5)
    await delete_cursors(receiver.node, database)
    await wait_until(lambda: len(receiver.got(ref)) == 10)
    receiver.ack(ref, 5)  # of the first five
    await receiver.node.cursors.flush()
    assert await rows(database) == {1: NOTHING}
    receiver.ack(ref, 5)
    await receiver.node.cursors.flush()
    assert await rows(database) == {1: Cursor(5, 5, 5)}


async def test_a_deletion_in_mid_replay_begins_it_anew(receiver: Receiver, database: Connection) -> None:
    ref = await receiver.stream("1", 1_500)
    await receiver.got_until(ref, 500)
    await receiver.node.cursors.flush()
    await delete_cursors(receiver.node, database)

    def begins_again() -> bool:
        receiver.ack(ref, receiver.got(ref)[-1])
        return 1 in receiver.got(ref)[500:]

    await wait_until(begins_again, what="the first again")
    again = receiver.got(ref).index(1, 500)
    await receiver.got_until(ref, 1_500)
    assert receiver.got(ref)[again:] == list(range(1, 1_501))


async def test_a_stream_whose_cursors_were_not_deleted_goes_on(
    receiver: Receiver, database: Connection
) -> None:
    kept, deleted = await receiver.stream("1", 5), await receiver.stream("2", 5)
    for ref in (kept, deleted):
        await receiver.got_until(ref, 5)
    await receiver.node.cursors.flush()
    await database.execute("DELETE FROM receiver_cursors WHERE stream_id = $1", receiver.streams[deleted])
    receiver.node.cursors.on_notification("")
    await receiver.node.cursors.look_for_deletions()
    await wait_until(lambda: len(receiver.got(deleted)) == 10)
    await receiver.commit(kept, 6)
    await receiver.got_until(kept, 6)
    assert receiver.got(kept) == [1, 2, 3, 4, 5, 6]


async def test_all_sessions_of_a_receiver_begin_anew(node: Node, database: Connection) -> None:
    async with running(node, database) as one, running(node, database) as two:
        ref = await one.stream("1", 5)
        two.streams = one.streams
        two.following.subscribe(ref)
        for receiver in (one, two):
            await wait_until(lambda receiver=receiver: len(receiver.got(ref)) == 5)  # type: ignore[misc, arg-type]
        await delete_cursors(node, database)
        for receiver in (one, two):
            await wait_until(lambda receiver=receiver: len(receiver.got(ref)) == 10)  # type: ignore[misc, arg-type]


async def test_an_epoch_that_begins_has_its_row_before_its_first_event(
    receiver: Receiver, database: Connection
) -> None:
    ref = await receiver.stream("1", 5)
    await receiver.got_until(ref, 5)
    receiver.socket.takes.clear()  # it has been handed its message, and nothing happens after that
    await stored.store(database, receiver.streams[ref], [(2, 1, b"a"), (1, 6, b"a"), (3, 7, b"a")])
    await receiver.node.tails.read()
    await wait_until(lambda: len(receiver.got(ref)) == 8)
    assert set(await rows(database)) == {1, 2, 3}
    receiver.sender.ack([AckEntry("start", "1", epoch, seq) for epoch, seq in ((2, 1), (1, 6), (3, 7))])
    await receiver.node.cursors.flush()
    assert await rows(database) == {1: Cursor(6, 8, 6), 2: Cursor(1, 8, 1), 3: Cursor(7, 8, 1)}


async def test_a_resume_of_names_that_stand_for_no_stream_subscribes_to_nothing(
    receiver: Receiver, database: Connection
) -> None:
    stream_id = await stored.make_stream(database, "start", "there")
    await stored.store_many(database, stream_id, 5)
    names = ["nobody", "there", "neither"]
    await receiver.following.resume([AckEntry("start", name, 1, 3) for name in names])
    await resolve(receiver.node.tails)
    there = StreamRef("start", "there")
    await receiver.got_until(there, 5)
    assert receiver.got(there) == [4, 5]
    assert set(receiver.node.tails.tails) == {there}
    # One that comes later was not asked for, until somebody asks.
    await stored.store_many(database, await stored.make_stream(database, "start", "nobody"), 5)
    await resolve(receiver.node.tails)
    await quiet(lambda: len(receiver.socket.events))
    receiver.following.subscribe(StreamRef("start", "nobody"))
    await resolve(receiver.node.tails)
    await receiver.got_until(StreamRef("start", "nobody"), 5)


async def test_names_that_stand_for_no_stream_are_no_reason_to_refuse_a_resume(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.turns.MAX_SUBSCRIPTIONS", 1)
    monkeypatch.setattr(tail_module, "MOST_TAILS", 1)
    ref = await receiver.stream("1", 5)
    await receiver.following.resume([AckEntry("start", str(number), 1, 3) for number in range(1, 100)])
    await receiver.got_until(ref, 5)


async def test_windows_that_are_emptied_cost_pages_and_no_event(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "ALL_WINDOWS_BYTES", 10_000)  # about 60 events
    refs = [await receiver.stream(str(number)) for number in range(4)]
    await all_begun(receiver)
    receiver.socket.takes.clear()
    stored_of: dict[UUID, int] = dict.fromkeys(receiver.streams.values(), 0)
    for _ in range(5):
        for ref in refs:
            first = stored_of[receiver.streams[ref]] + 1
            stored_of[receiver.streams[ref]] += 30
            await receiver.commit(ref, *range(first, first + 30))
            assert receiver.node.tails.window_bytes <= tail_module.ALL_WINDOWS_BYTES
    assert any(tail.window(FIRST).start > 0 for tail in receiver.node.tails.tails.values())
    receiver.socket.takes.set()
    for ref in refs:
        await receiver.got_until(ref, 150)
    for ref in refs:
        assert receiver.got(ref) == list(range(1, 151))


async def arrived(receiver: Receiver, ref: StreamRef, events: int) -> None:
    await wait_until(lambda: len(receiver.got(ref)) == events, what=f"{events} events")


async def test_an_epoch_that_begins_for_two_sessions_of_a_receiver_at_once_reaches_both(
    node: Node, database: Connection
) -> None:
    async with running(node, database) as one, running(node, database) as two:
        ref = await one.stream("1", 1)
        two.streams[ref] = one.streams[ref]
        two.following.subscribe(ref)
        for each in (one, two):
            await each.got_until(ref, 1)
        for epoch in range(2, 20):
            await stored.store(database, one.streams[ref], [(epoch, 1, b"aa")])
            await node.tails.read()
            for each in (one, two):
                await arrived(each, ref, epoch)
                each.sender.ack([AckEntry(ref.forwarder_id, ref.reader_ip, epoch, 1)])


async def test_a_stream_that_an_administrator_holds_keeps_no_other_one_back(
    receiver: Receiver, database: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "REST_S", 0.2)
    live = await receiver.stream("live", 1)
    await receiver.got_until(live, 1)
    administrator = await asyncpg.connect(database_url)
    async with administrator.transaction():
        held = StreamRef("start", "held")
        receiver.streams[held] = await stored.make_stream(database, "start", "held")
        await stored.store_many(database, receiver.streams[held], 3)
        await administrator.execute(
            "SELECT FROM streams WHERE stream_id = $1 FOR UPDATE", receiver.streams[held]
        )
        receiver.following.subscribe(held)
        await resolve(receiver.node.tails)
        for seq in range(2, 6):
            await receiver.commit(live, seq)
            await receiver.got_until(live, seq)
        assert receiver.got(held) == []
    await administrator.close()
    await receiver.got_until(held, 3)


async def test_what_was_deleted_since_a_page_was_read_is_not_sent_from_it(
    node: Node, database: Connection
) -> None:
    async with running(node, database) as first:
        ref = await first.stream("1", 1_500)
        await first.got_until(ref, 1_500)
        await node.cursors.flush()
        await stored.retain_nothing(database, first.streams[ref])
        await stored.store(database, first.streams[ref], [(1, 1_501, b"aa")])
        await delete_cursors(node, database)
        async with running(node, database) as second:
            second.streams[ref] = first.streams[ref]
            second.following.subscribe(ref)
            await second.got_until(ref, 1_501)
            assert second.got(ref) == [1_501]
