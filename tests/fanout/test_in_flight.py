"""How much a receiver is sent before it acks, and before it has shown that it reads."""

import asyncio
from dataclasses import replace
from uuid import uuid4

from fanout.node import Node
from shared.db.connections import Connection
from tests.fanout.conftest import resolve
from tests.fanout.receiving import Receiver, all_begun, quiet, running
from tests.waiting import wait_until


async def test_no_more_than_the_limit_is_in_flight_and_an_ack_makes_room(receiver: Receiver) -> None:
    ref = await receiver.stream("1", 1_000)
    await wait_until(lambda: len(receiver.got(ref)) >= 100)
    await quiet(lambda: len(receiver.got(ref)))
    assert [len(message) for message in receiver.socket.messages] == [100]
    receiver.ack(ref, 99)  # no message's highest number: it covers none
    await quiet(lambda: len(receiver.got(ref)))
    receiver.ack(ref, 100)
    await wait_until(lambda: len(receiver.got(ref)) >= 200)
    await quiet(lambda: len(receiver.got(ref)))
    assert receiver.got(ref) == list(range(1, 201))


async def test_the_limit_is_in_flight_in_however_many_messages(receiver: Receiver) -> None:
    ref = await receiver.stream("1")
    await all_begun(receiver)
    for seq in range(1, 60):
        await receiver.commit(ref, seq)
        await wait_until(lambda seq=seq: len(receiver.got(ref)) == seq)  # type: ignore[misc]
    await receiver.commit(ref, *range(60, 200))
    await wait_until(lambda: len(receiver.got(ref)) >= 100)
    await quiet(lambda: len(receiver.got(ref)))
    assert receiver.got(ref) == list(range(1, 101))
    assert len(receiver.socket.messages[-1]) == 41
    receiver.ack(ref, 30)
    await wait_until(lambda: len(receiver.got(ref)) >= 130)
    await quiet(lambda: len(receiver.got(ref)))
    assert receiver.got(ref) == list(range(1, 131))


async def test_a_receiver_that_acks_nothing_gets_the_next_batch_after_the_pace_and_a_pong(
    node: Node, database: Connection
) -> None:
    node = replace(node, settings=replace(node.settings, pace_ms=20))
    async with running(node, database) as receiver:
        ref = await receiver.stream("1", 1_000)
        began = asyncio.get_running_loop().time()
        await wait_until(lambda: len(receiver.got(ref)) == 1_000)
        # 100 at once, then 9 times 100
        assert asyncio.get_running_loop().time() - began >= 9 * 0.02
        # Each ping followed what it asks about, and no two are alike.
        assert len(set(receiver.socket.pings)) == len(receiver.socket.pings) >= 9
    assert receiver.got(ref) == list(range(1, 1_001))


async def test_a_receiver_that_neither_acks_nor_answers_gets_nothing_more_until_it_does(
    node: Node, database: Connection
) -> None:
    node = replace(node, settings=replace(node.settings, pace_ms=1))
    async with running(node, database) as receiver:
        receiver.socket.answers_pings = False
        ref = await receiver.stream("1", 400)
        await wait_until(lambda: receiver.socket.pings, what="a ping")
        receiver.socket.on_pong(
            b""
        )  # one that asks for nothing (shared/transport/connection.py), and one of long ago
        receiver.socket.on_pong(bytes(8))
        await quiet(lambda: (len(receiver.got(ref)), len(receiver.socket.pings)))
        assert receiver.got(ref) == list(range(1, 101))
        (ping,) = receiver.socket.pings
        receiver.socket.on_pong(ping)
        await wait_until(lambda: len(receiver.got(ref)) == 200, what="the next batch")
        await wait_until(lambda: len(receiver.socket.pings) == 2, what="another ping")
        receiver.socket.on_pong(ping)  # again: it does not say that the second batch was read
        await quiet(lambda: len(receiver.got(ref)))
        # An ack says so too, and counts although it comes late.
        receiver.ack(ref, 100)
        receiver.ack(ref, 200)
        await wait_until(lambda: len(receiver.got(ref)) == 300, what="the batch after the ack")
        await node.cursors.flush()
        row = await database.fetchrow("SELECT last_seq, position, event_count FROM receiver_cursors")
        assert row is not None
        assert tuple(row) == (200, 400, 200)


async def test_acks_that_cover_nothing_do_not_keep_the_pace_from_running_out(
    node: Node, database: Connection
) -> None:
    node = replace(node, settings=replace(node.settings, pace_ms=200))
    async with running(node, database) as receiver:
        ref = await receiver.stream("1", 400)
        await wait_until(lambda: len(receiver.got(ref)) == 100)

        def chatter() -> bool:
            receiver.ack(ref, 0)
            return len(receiver.got(ref)) == 200

        await wait_until(chatter, deadline_s=2, what="the next batch")


async def test_after_a_message_comes_a_pause_unless_the_receivers_token_says_that_it_needs_none(
    node: Node, database: Connection
) -> None:
    slow = replace(node, settings=replace(node.settings, replay_events_per_second=1))
    async with running(slow, database) as receiver:  # a pause of 100 s
        ref = await receiver.stream("1", 300)
        await wait_until(lambda: len(receiver.got(ref)) == 100)
        receiver.ack(ref, 100)
        await quiet(lambda: len(receiver.got(ref)))
    async with running(slow, database, events_per_second=0) as receiver:
        receiver.streams[ref] = uuid4()
        receiver.following.subscribe(ref, {1: 0})
        await resolve(slow.tails)
        await receiver.got_until(ref, 300)
    async with running(node, database, events_per_second=1) as receiver:
        receiver.following.subscribe(ref, {1: 0})
        await resolve(node.tails)
        await wait_until(lambda: len(receiver.got(ref)) == 100)
        receiver.ack(ref, 100)
        await quiet(lambda: len(receiver.got(ref)))
