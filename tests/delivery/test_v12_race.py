"""A race: exactly the epochs that are mapped to it now, for a receiver of the second generation."""

import asyncio
from uuid import UUID, uuid4

import pytest

from shared.db.channels import RACES
from shared.db.connections import Connection
from tests.api.seeds import add_race
from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store
from tests.delivery.test_subscribing import acks_written, events, run
from tests.delivery.wire import READER, START, Message, receiver
from tests.delivery.wire_v12 import receiver_v12
from tests.waiting import wait_until

OTHER = ("finish", READER)


async def map_epoch(
    database: Connection, race_id: UUID, stream_id: UUID, *epochs: int, notify: bool = True
) -> None:
    await database.execute(
        "INSERT INTO epoch_races (stream_id, stream_epoch, race_id) SELECT $1, unnest($2::bigint[]), $3",
        *(stream_id, epochs, race_id),
    )
    if notify:
        await database.execute("SELECT pg_notify($1, $2)", RACES, str(race_id))


async def unmap(database: Connection, race_id: UUID, stream_id: UUID, epoch: int) -> None:
    await database.execute(
        "DELETE FROM epoch_races WHERE stream_id = $1 AND stream_epoch = $2", stream_id, epoch
    )
    await database.execute("SELECT pg_notify($1, $2)", RACES, str(race_id))


def race(race_id: UUID | str) -> Message:
    return {"mode": "race", "race_id": str(race_id)}


async def test_exactly_the_mapped_epochs_come_whatever_else_the_streams_have(standing: Standing) -> None:
    start, finish = [await make_stream(standing.database, *name) for name in (START, OTHER)]
    await store(standing.database, start, events(1, 1, 3) + events(2, 1, 3) + events(3, 1, 3))
    await store(standing.database, finish, events(1, 1, 3))
    race_id = await add_race(standing.database)
    await map_epoch(standing.database, race_id, start, 1, 3)
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.identities(6) == run(1, 1, 2, 3) + run(3, 1, 2, 3)
        assert await wire.applied() == (f"race ({race_id})", 1, [])
        await store(standing.database, start, events(2, 4, 4) + events(4, 1, 1) + events(1, 9, 9))
        await store(standing.database, start, events(3, 4, 4))
        assert await wire.identities(2) == run(1, 9) + run(3, 4)
        assert await wire.silent(for_s=0.1)
        behind = "SELECT coalesce(sum(behind), 0) FROM receiver_streams WHERE subscribed"

        async def owed_nothing() -> bool:
            return bool(await standing.database.fetchval(behind) == 0)

        await wait_until(owed_nothing, what="nothing to be owed of what is not mapped")


async def test_what_is_mapped_begins_and_what_is_mapped_no_more_ends_at_once(standing: Standing) -> None:
    start, finish = [await make_stream(standing.database, *name) for name in (START, OTHER)]
    await store(standing.database, start, events(1, 1, 3) + events(2, 1, 3))
    await store(standing.database, finish, events(7, 1, 2))
    race_id = await add_race(standing.database)
    await map_epoch(standing.database, race_id, start, 1)
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.identities(3) == run(1, 1, 2, 3)
        assert await wire.applied() == (f"race ({race_id})", 1, [])
        await map_epoch(standing.database, race_id, start, 2)
        assert await wire.applied() == (f"race ({race_id})", 1, [])
        while sum(map(len, wire.batches)) < 6:
            await wire.take(1)
        await map_epoch(standing.database, race_id, finish, 7, 8)
        assert await wire.applied() == (f"race ({race_id})", 2, [])
        while sum(map(len, wire.batches)) < 8:
            await wire.take(1)
        await unmap(standing.database, race_id, start, 1)
        assert await wire.applied() == (f"race ({race_id})", 2, [])
        await store(standing.database, start, events(1, 4, 4) + events(2, 4, 4))
        await store(standing.database, finish, events(8, 1, 1))
        await wire.take(2)
        got = [
            (each["forwarder_id"], each["stream_epoch"], each["seq"])
            for batch in wire.batches
            for each in batch
        ]
        assert sorted(got) == [
            *(("finish", 7, seq) for seq in (1, 2)),
            ("finish", 8, 1),
            *(("start", 1, seq) for seq in (1, 2, 3)),
            *(("start", 2, seq) for seq in (1, 2, 3, 4)),
        ]
        # Mapped again, it goes on from what was acked: with what came meanwhile.
        await acks_written(standing, e1=3, e2=4, e7=2, e8=1)
        await map_epoch(standing.database, race_id, start, 1)
        assert await wire.identities(1) == run(1, 4)
        assert await wire.silent(for_s=0.1)


async def test_a_change_is_found_whose_notification_was_lost(standing: Standing) -> None:
    start = await make_stream(standing.database, *START)
    await store(standing.database, start, events(1, 1, 2))
    race_id = await add_race(standing.database)
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.applied() == (f"race ({race_id})", 0, [])
        await map_epoch(standing.database, race_id, start, 1, notify=False)
        assert await wire.applied() == (f"race ({race_id})", 1, [])
        while sum(map(len, wire.batches)) < 2:
            await wire.take(1)


async def test_each_epoch_begins_behind_its_own_ack_and_a_resume_implies_nothing(standing: Standing) -> None:
    start = await make_stream(standing.database, *START)
    await store(standing.database, start, events(1, 1, 3) + events(2, 1, 3) + events(3, 1, 3))
    race_id = await add_race(standing.database)
    await map_epoch(standing.database, race_id, start, 1, 2, 3)
    async with receiver(standing.url, standing.token, START) as first:
        await first.take(9, acking=False)
        await first.ack((START, 2, 2))
        await acks_written(standing, e2=2)
    resume = [(START, 3, 1)]
    async with receiver_v12(standing.url, standing.token, race(race_id), resume=resume) as wire:
        assert await wire.identities(6) == run(1, 1, 2, 3) + run(2, 3) + run(3, 2, 3)


async def test_what_a_resume_of_the_first_generation_implied_is_no_ack(standing: Standing) -> None:
    start = await make_stream(standing.database, *START)
    await store(standing.database, start, events(1, 1, 3) + events(2, 1, 3))
    race_id = await add_race(standing.database)
    await map_epoch(standing.database, race_id, start, 1, 2)
    async with receiver(standing.url, standing.token, resume=[(START, 2, 2)]) as first:
        assert await first.identities(1) == run(2, 3)
        await acks_written(standing, e1=3, e2=3)
        # A late one that it acks does not make the rest of its epoch acked.
        await store(standing.database, start, events(1, 5, 5))
        assert await first.identities(1) == run(1, 5)
        await acks_written(standing, e1=5, e2=3)
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.identities(4) == run(1, 1, 2, 3, 5)
        assert await wire.applied() == (f"race ({race_id})", 1, [])
        await acks_written(standing, e1=5, e2=3)
        assert not await standing.database.fetchval("SELECT bool_or(implied) FROM receiver_cursors")
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.applied() == (f"race ({race_id})", 1, [])
        assert wire.batches == []


@pytest.mark.parametrize("race_id", ["", "no uuid", "x" * 200, str(UUID(int=7))])
async def test_a_race_that_there_is_not_is_warned_of_and_the_session_stays(
    standing: Standing, race_id: str
) -> None:
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.applied() == (
            f"race ({race_id[:100]})",
            0,
            [f"there is no race {race_id[:100]}"],
        )
        assert await wire.silent(for_s=0.1)


async def test_a_session_says_which_race_it_follows_also_of_one_that_comes_later(standing: Standing) -> None:
    race_id, later = await add_race(standing.database), uuid4()
    named = "SELECT race_id FROM receiver_sessions WHERE session_id = $1::text::uuid"
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await standing.database.fetchval(named, wire.session_id) == race_id
    async with receiver_v12(standing.url, standing.token, race(later)) as wire:
        await wire.applied()
        assert await standing.database.fetchval(named, wire.session_id) is None
        await standing.database.execute("INSERT INTO races (race_id, name) VALUES ($1, 'later')", later)
        await standing.database.execute("SELECT pg_notify($1, '')", RACES)
        assert await wire.applied() == (f"race ({later})", 0, [])

        async def is_named() -> bool:
            return bool(await standing.database.fetchval(named, wire.session_id) == later)

        await wait_until(is_named, what="the row to name the race")


async def test_a_race_that_is_being_deleted_holds_up_no_heartbeat(standing: Standing) -> None:
    race_id = await add_race(standing.database)
    async with standing.database.transaction():
        await standing.database.execute("DELETE FROM races WHERE race_id = $1", race_id)
        async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
            deleting = asyncio.ensure_future(wire.applied())
            await asyncio.sleep(0.1)
            assert not deleting.done()
            deleting.cancel()


async def test_boundaries_are_nothing_to_who_follows_a_race(standing: Standing) -> None:
    start = await make_stream(standing.database, *START)
    await store(standing.database, start, events(1, 1, 3) + events(2, 1, 3))
    race_id, other = await add_race(standing.database), await add_race(standing.database, "other")
    await map_epoch(standing.database, race_id, start, 2)
    for whose, first, end in ((race_id, (1, 2), (2, 2)), (other, (2, 2), (3, 1))):
        await standing.database.execute(
            "INSERT INTO race_segments (race_id, stream_id, from_epoch, from_seq, to_epoch, to_seq)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            *(whose, start, *first, *end),
        )
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        assert await wire.identities(3) == run(2, 1, 2, 3)
        await store(standing.database, start, events(1, 4, 4) + events(2, 4, 4))
        assert await wire.identities(1) == run(2, 4)
        assert await wire.silent(for_s=0.1)
