"""Epochs once more: in the order that was asked for, as they were stored then, and without a trace in the record."""

from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.test_subscribing import acked, acks_written, events, run
from tests.delivery.wire import READER, START, receiver
from tests.delivery.wire_v12 import live, receiver_v12, replay, target
from tests.waiting import wait_until

OTHER = ("finish", READER)


async def test_targets_come_one_after_the_other_each_by_its_numbers(standing: Standing) -> None:
    start, finish = [await make_stream(standing.database, *name) for name in (START, OTHER)]
    await store(standing.database, start, events(2, 1, 3) + events(1, 3, 4) + events(1, 1, 2))
    await store(standing.database, finish, events(1, 1, 150))
    asked = replay(target(START, 1, from_seq=2), target(OTHER, 1, from_seq=120), target(START, 2))
    async with receiver_v12(standing.url, standing.token, asked) as wire:
        got = [(each["forwarder_id"], each["stream_epoch"], each["seq"]) for each in await wire.take(37)]
        assert await wire.applied() == ("targeted_replay (3 targets)", 2, [])
    assert got == [
        *(("start", 1, seq) for seq in (2, 3, 4)),
        *(("finish", 1, seq) for seq in range(120, 151)),
        *(("start", 2, seq) for seq in (1, 2, 3)),
    ]


async def test_the_same_target_counts_once_and_what_overlaps_comes_twice(standing: Standing) -> None:
    await store(standing.database, await make_stream(standing.database, *START), events(1, 1, 3))
    same = [target(START, 1), target(START, 1, from_seq=0), target(START, 1, from_seq=None)]
    async with receiver_v12(
        standing.url, standing.token, replay(*same, target(START, 1, from_seq=3))
    ) as wire:
        assert await wire.identities(4) == run(1, 1, 2, 3, 3)
        assert await wire.applied() == ("targeted_replay (2 targets)", 1, [])


async def test_nothing_that_comes_later_is_sent_and_the_session_stays(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 300)
    async with receiver_v12(standing.url, standing.token, replay(target(START, 1))) as wire:
        got = await wire.identities(100, acking=False)
        await store(standing.database, stream, events(1, 301, 310))
        await wire.ack((START, 1, 100))
        got += await wire.identities(200)
        assert await wire.applied() == ("targeted_replay (1 targets)", 1, [])
        assert await wire.silent(for_s=0.2)
        assert wire.open
    assert got == run(1, *range(1, 301))


async def test_acks_pace_it_and_change_no_record(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 300)
    async with receiver(standing.url, standing.token, START) as first:
        await first.take(100, acking=False)
        await first.ack((START, 1, 40))
        await acks_written(standing, e1=40)
    async with receiver_v12(standing.url, standing.token, replay(target(START, 1))) as wire:
        assert len(await wire.take(300)) == 300
        await wire.applied()
    assert await acked(standing) == {1: 40}
    followed = "SELECT count(*) FROM receiver_streams WHERE subscribed"

    async def nobody_follows() -> bool:
        return bool(await standing.database.fetchval(followed) == 0)

    # The row of a session goes a moment after its socket.
    await wait_until(nobody_follows, what="nobody to follow the stream")


async def test_targets_that_are_not_there_are_warned_of_and_none_is_a_replay_too(standing: Standing) -> None:
    await store(standing.database, await make_stream(standing.database, *START), events(1, 1, 2))
    asked = replay(target(OTHER, 1), target(START, 7), target(START, 1, from_seq=9), target(START, 1))
    async with receiver_v12(standing.url, standing.token, asked) as wire:
        assert await wire.identities(2) == run(1, 1, 2)
        unknown = f"reader {READER} of forwarder finish is not known yet"
        assert await wire.applied() == ("targeted_replay (4 targets)", 1, [unknown])
    async with receiver_v12(standing.url, standing.token, replay()) as wire:
        assert await wire.applied() == ("targeted_replay (0 targets)", 0, [])
        assert await wire.silent(for_s=0.1)
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        assert await wire.identities(2) == run(1, 1, 2)
