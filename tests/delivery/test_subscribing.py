"""Where delivery starts, what it brings, and in what order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import groupby

import pytest

from tests.delivery.conftest import Standing
from tests.delivery.stored import delete_stream, make_stream, retain_nothing, store, store_many
from tests.delivery.wire import READER, START, Cursor, Wire, receiver
from tests.waiting import PATIENCE_S, wait_until

Identity = tuple[int, int]
OTHER = ("finish", READER)


def run(epoch: int, *seqs: int) -> list[Identity]:
    return [(epoch, seq) for seq in seqs]


def events(epoch: int, first: int, last: int) -> list[tuple[int, int, bytes]]:
    return [(epoch, seq, f"{epoch}/{seq}".encode()) for seq in range(first, last + 1)]


async def acked(standing: Standing) -> dict[int, int]:
    rows = await standing.database.fetch(
        "SELECT stream_epoch, last_seq FROM receiver_cursors WHERE receiver_id = 'tent' AND last_seq > 0"
    )
    return {row["stream_epoch"]: row["last_seq"] for row in rows}


async def acks_written(standing: Standing, **expected: int) -> None:
    """Wait until the stored cursors of epochs (`e1=5`) are these."""
    wanted = {int(name[1:]): last_seq for name, last_seq in expected.items()}

    async def are_written() -> bool:
        return await acked(standing) == wanted

    await wait_until(are_written, what=f"cursors {wanted}")


@asynccontextmanager
async def subscribed(standing: Standing, *resume: Cursor) -> AsyncIterator[Wire]:
    async with receiver(standing.url, standing.token, *([] if resume else [START]), resume=resume) as wire:
        yield wire


async def test_history_comes_by_epoch_and_seq_and_then_what_is_new(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    for batch in (events(2, 1, 150), events(1, 1, 250), events(2, 151, 200)):
        await store(standing.database, stream, batch)
    async with subscribed(standing) as wire:
        assert await wire.identities(450) == run(1, *range(1, 251)) + run(2, *range(1, 201))
        await store(standing.database, stream, events(2, 201, 203))
        assert await wire.identities(3) == run(2, 201, 202, 203)


async def test_a_stream_that_does_not_exist_yet_starts_when_it_appears(standing: Standing) -> None:
    async with subscribed(standing) as wire:
        assert await wire.silent()
        stream = await make_stream(standing.database, *START)
        await store(standing.database, stream, events(1, 1, 3))
        assert await wire.identities(3) == run(1, 1, 2, 3)


async def test_a_stream_of_which_no_notification_told_starts_too(standing: Standing) -> None:
    async with subscribed(standing) as wire:
        assert await wire.silent()
        stream = await standing.database.fetchval(
            "INSERT INTO streams (forwarder_id, reader_ip) VALUES ($1, $2) RETURNING stream_id", *START
        )
        await store(standing.database, stream, events(1, 1, 3))
        assert await wire.identities(3) == run(1, 1, 2, 3)


async def test_naming_a_stream_twice_changes_nothing(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 3))
    async with receiver(standing.url, standing.token, START, START, resume=[(START, 1, 1)]) as wire:
        assert await wire.identities(2) == run(1, 2, 3)
        await wire.subscribe(START, START)
        await wire.greet(resume=[(START, 1, 0)])
        await store(standing.database, stream, events(1, 4, 4))
        assert await wire.identities(1) == run(1, 4)


async def test_a_stream_is_its_forwarder_and_its_reader_verbatim(standing: Standing) -> None:
    alike = [("start", "10.0.0.1"), ("Start", READER), ("start ", READER), ("", READER), ("start", "")]
    for number, name in enumerate([START, *alike], 1):
        await store(standing.database, await make_stream(standing.database, *name), events(1, number, number))
    async with receiver(standing.url, standing.token, alike[2], START) as wire:
        got = await wire.take(2)
        assert sorted((each["forwarder_id"], each["seq"]) for each in got) == [("start", 1), ("start ", 4)]
        assert await wire.silent()


# --- resume and stored acks ---


@pytest.mark.parametrize(
    ("resume", "expected"),
    [
        pytest.param([(START, 2, 3)], run(2, 4, 5), id="older epochs are done"),
        pytest.param([(START, 2, 0)], run(2, 1, 2, 3, 4, 5), id="last_seq 0"),
        pytest.param([(START, 1, 4)], run(1, 5) + run(2, 1, 2, 3, 4, 5), id="newer epochs are whole"),
        pytest.param([(START, 1, 4), (START, 2, 5)], run(1, 5), id="a cursor for each epoch"),
        pytest.param([(START, 2, 1), (START, 2, 4), (START, 2, 3)], run(2, 5), id="duplicates: the highest"),
        pytest.param([(START, 2, 5), (START, 2, 5)], [], id="everything"),
        pytest.param([(START, 2, 6)], run(1, 1, 2, 3, 4, 5) + run(2, 1, 2, 3, 4, 5), id="from the future"),
        pytest.param([(START, 9, 1)], run(1, 1, 2, 3, 4, 5) + run(2, 1, 2, 3, 4, 5), id="of a future epoch"),
        pytest.param(
            [(START, 2, 2**53 - 1), (START, 1, 3)], run(1, 4, 5) + run(2, 1, 2, 3, 4, 5), id="one of two"
        ),
        pytest.param([(OTHER, 1, 5), (START, 2, 4)], run(2, 5), id="another stream's"),
    ],
)
async def test_a_resume_says_where_to_start(
    standing: Standing, resume: list[Cursor], expected: list[Identity]
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5) + events(2, 1, 5))
    async with subscribed(standing, *resume) as wire:
        assert (await wire.identities(len(expected)) if expected else []) == expected
        await store(standing.database, stream, events(2, 6, 6))
        assert await wire.identities(1) == run(2, 6)


async def test_what_was_acked_does_not_come_again_and_the_rest_does(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5) + events(2, 1, 5))
    async with subscribed(standing) as wire:
        await wire.take(10, acking=False)
        await wire.ack((START, 1, 5), (START, 2, 2))
        await acks_written(standing, e1=5, e2=2)
    async with subscribed(standing) as wire:
        assert await wire.identities(3) == run(2, 3, 4, 5)


async def test_a_receivers_own_word_counts_also_where_it_is_lower_than_our_record(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 9))
    async with subscribed(standing) as wire:
        await wire.take(9, acking=False)
        await wire.ack((START, 1, 5))
        await acks_written(standing, e1=5)
    async with subscribed(standing, (START, 1, 2)) as wire:
        assert await wire.identities(7, acking=False) == run(1, 3, 4, 5, 6, 7, 8, 9)
        await wire.ack((START, 1, 4))
        await wire.all_received()
    assert await acked(standing) == {1: 5}


async def test_between_our_record_and_a_higher_resume_all_comes_again_that_was_stored_after_the_record(
    standing: Standing,
) -> None:
    """A resume knows no position: the last acks of a node that died may be of late ones, or not."""
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5))
    async with subscribed(standing) as wire:
        await wire.take(5)
        await acks_written(standing, e1=5)
    await store(standing.database, stream, events(1, 6, 9))
    async with subscribed(standing, (START, 1, 7)) as wire:
        assert await wire.identities(4) == run(1, 6, 7, 8, 9)
        await acks_written(standing, e1=9)
    async with subscribed(standing, (START, 1, 9)) as wire:
        assert await wire.silent()


async def test_a_resume_without_a_record_is_believed_and_recorded(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 9))
    async with subscribed(standing, (START, 1, 7)) as wire:
        assert await wire.identities(2, acking=False) == run(1, 8, 9)
        await acks_written(standing, e1=7)
    await store(standing.database, stream, events(1, 10, 10))
    async with subscribed(standing) as wire:
        assert await wire.identities(3) == run(1, 8, 9, 10)


async def test_a_resume_of_a_stream_that_does_not_exist_subscribes_to_nothing(standing: Standing) -> None:
    async with subscribed(standing, (START, 1, 2)) as wire:
        await wire.subscribe(OTHER)
        await wire.all_received()  # before either exists
        for name in (START, OTHER):
            await store(standing.database, await make_stream(standing.database, *name), events(1, 1, 3))
        assert {each["forwarder_id"] for each in await wire.take(3)} == {"finish"}
        assert await wire.silent()
        await wire.subscribe(START)
        assert await wire.identities(3) == run(1, 1, 2, 3)


async def test_our_record_of_an_older_epoch_beats_the_resume(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5) + events(2, 1, 5))
    async with subscribed(standing) as wire:
        await wire.take(10, acking=False)
        await wire.ack((START, 1, 3))
        await acks_written(standing, e1=3)
    async with subscribed(standing, (START, 2, 4)) as wire:
        assert await wire.identities(3) == run(1, 4, 5) + run(2, 5)


async def test_cursors_belong_to_a_receiver_a_stream_and_an_epoch(standing: Standing) -> None:
    for name in (START, OTHER):
        stream = await make_stream(standing.database, *name)
        await store(standing.database, stream, events(1, 1, 3) + events(2, 1, 3))
    async with receiver(standing.url, standing.token, START, OTHER) as wire:
        await wire.take(12, acking=False)
        await wire.ack((START, 2, 3))
        await acks_written(standing, e2=3)
    async with receiver(standing.url, standing.token, START, OTHER) as wire:
        got = [(each["forwarder_id"], each["stream_epoch"]) for each in await wire.take(9, acking=False)]
        assert sorted(key for key, _ in groupby(got)) == [("finish", 1), ("finish", 2), ("start", 1)]
        assert await wire.silent()


async def test_a_cursor_beyond_what_is_stored_does_not_come_back_into_force(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await standing.database.execute("INSERT INTO receiver_cursors VALUES ('tent', $1, 1, 6)", stream)
    await store(standing.database, stream, events(1, 1, 5))
    async with subscribed(standing) as wire:
        assert await wire.identities(5, acking=False) == run(1, 1, 2, 3, 4, 5)
        await wire.ack((START, 1, 3))
        await acks_written(standing, e1=3)
    await store(standing.database, stream, events(1, 6, 8))
    async with subscribed(standing) as wire:
        assert await wire.identities(5) == run(1, 4, 5, 6, 7, 8)


# --- late events ---


async def test_late_events_of_an_older_epoch_reach_who_is_connected(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 2) + events(2, 1, 2))
    async with subscribed(standing) as wire:
        await wire.take(4)
        await acks_written(standing, e1=2, e2=2)
        await store(standing.database, stream, events(1, 3, 4))
        assert await wire.identities(2) == run(1, 3, 4)
        await acks_written(standing, e1=4, e2=2)


@pytest.mark.parametrize("resume", [[], [(START, 2, 2)]], ids=["by our record", "by resume"])
async def test_late_events_of_an_older_epoch_reach_who_was_away(
    standing: Standing, resume: list[Cursor]
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 2) + events(2, 1, 2))
    async with subscribed(standing) as wire:
        await wire.take(4)
        await acks_written(standing, e1=2, e2=2)
    await store(standing.database, stream, events(1, 3, 4))
    async with subscribed(standing, *resume) as wire:
        assert await wire.identities(2) == run(1, 3, 4)


async def test_what_comes_late_after_a_resume_declared_an_epoch_done_is_delivered_next_time(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5) + events(2, 1, 2))
    async with subscribed(standing, (START, 2, 1)) as wire:
        assert await wire.identities(1) == run(2, 2)
        await acks_written(standing, e1=5, e2=2)
    await store(standing.database, stream, events(1, 6, 7))
    async with subscribed(standing, (START, 2, 2)) as wire:
        assert await wire.identities(2) == run(1, 6, 7)


async def test_what_is_stored_below_a_cursor_while_its_receiver_is_away_comes_first_at_its_next_connection(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 6, 10))
    async with subscribed(standing) as wire:
        await wire.take(5)
        await acks_written(standing, e1=10)
    await store(standing.database, stream, events(1, 11, 12) + events(1, 1, 5))
    async with subscribed(standing) as wire:
        assert await wire.identities(7, acking=False) == run(1, 1, 2, 3, 4, 5, 11, 12)
        # An ack of what came after them says nothing of them; a connection that ends before says nothing at all.
    async with subscribed(standing) as wire:
        assert await wire.identities(7) == run(1, 1, 2, 3, 4, 5, 11, 12)
        await acks_written(standing, e1=12)
    async with subscribed(standing) as wire:
        assert await wire.silent()


async def test_what_is_stored_below_a_cursor_while_its_receiver_is_there_comes_at_once(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 6, 10))
    async with subscribed(standing) as wire:
        await wire.take(5, acking=False)
        await store(standing.database, stream, events(1, 1, 5))
        assert await wire.identities(5, acking=False) == run(1, 1, 2, 3, 4, 5)
        await wire.ack((START, 1, 10))  # of the first five that came
        await acks_written(standing, e1=10)
    async with subscribed(standing) as wire:
        assert await wire.identities(5) == run(1, 1, 2, 3, 4, 5)


# --- administrators ---


async def test_a_stream_made_anew_while_subscribed_starts_from_its_first_event(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5))
    async with subscribed(standing, (START, 1, 3)) as wire:
        assert await wire.identities(2) == run(1, 4, 5)
        await delete_stream(standing.database, stream)
        anew = await make_stream(standing.database, *START)
        await store(standing.database, anew, events(1, 1, 8))
        assert await wire.identities(8) == run(1, *range(1, 9))
        await store(standing.database, anew, events(1, 9, 9))
        assert await wire.identities(1) == run(1, 9)
        await acks_written(standing, e1=9)


async def test_a_stream_that_goes_on_after_its_events_were_deleted_is_delivered_on(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 50)
    async with subscribed(standing) as wire:
        await wire.take(50)
        await acks_written(standing, e1=50)
        await retain_nothing(standing.database, stream)
        await store(standing.database, stream, events(1, 51, 52))
        # Its cursors went as well: what came before it began anew comes again.
        got = await wire.identities(2)
        while await acked(standing) != {1: 52}:
            with suppress(TimeoutError):
                got += await wire.identities(1, within_s=0.1)
        assert got in (run(1, 51, 52), run(1, 51, 52, 51, 52))
    await store(standing.database, stream, events(1, 53, 53))
    async with subscribed(standing) as wire:
        assert await wire.identities(1) == run(1, 53)


async def test_deleting_in_mid_replay_ends_the_replay_and_not_the_session(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 3_000)
    async with subscribed(standing) as wire:
        await wire.batch()
        await delete_stream(standing.database, stream)
        anew = await make_stream(standing.database, *START)
        await store(standing.database, anew, events(7, 1, 3))
        got: list[Identity] = []
        async with asyncio.timeout(PATIENCE_S):
            while got[-3:] != run(7, 1, 2, 3):
                got += await wire.identities(1)


# --- several streams, several nodes ---


async def test_a_receiver_of_many_streams_gets_each_in_order(standing: Standing) -> None:
    names = [("start", f"10.0.0.{number}:10000") for number in range(20)]
    for name in names:
        await store_many(standing.database, await make_stream(standing.database, *name), 150)
    async with receiver(standing.url, standing.token, *names) as wire:
        got = await wire.take(20 * 150)
    for _, reader_ip in names:
        seqs = [each["seq"] for each in got if each["reader_ip"] == reader_ip]
        assert seqs == list(range(1, 151))
