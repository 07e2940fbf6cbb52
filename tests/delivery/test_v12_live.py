"""Live, for receivers of the second generation: from its floor on, all of a stream, in the order that they expect."""

import asyncpg
import pytest

from shared.db.connections import Connection
from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.test_subscribing import acks_written, events, run
from tests.delivery.wire import READER, START, Cursor, receiver
from tests.delivery.wire_v12 import connect_v12, live, receiver_v12
from tests.fanout.conftest import running_inside
from tests.waiting import wait_until

OTHER = ("finish", READER)
UNKNOWN = f"reader {READER} of forwarder finish is not known yet"


async def test_what_is_stored_comes_before_the_answer_and_what_is_new_behind_it(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 250))
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        await wire.take(100)
        await store(standing.database, stream, events(1, 251, 253))
        assert await wire.applied() == ("live (1 streams)", 1, [])
        assert [each["seq"] for batch in wire.batches for each in batch] == list(range(1, 251))
        assert await wire.identities(3) == run(1, 251, 252, 253)
    assert wire.frames.index("receiver_mode_applied") > 3


async def test_the_answer_waits_ten_seconds_for_what_is_stored_and_no_longer(
    database_url: str, database: Connection, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.session_v12.APPLIED_WITHIN_S", 0.2)
    stream = await make_stream(database, *START)
    await store_many(database, stream, 500)
    async with running_inside(database_url, pace_ms="60000") as url, connect_v12(url, token) as wire:
        await wire.greet_v12(live(START))
        await wire.take(100, acking=False)
        message = await wire.next()
        assert message is not None
        assert message["kind"] == "receiver_mode_applied"
        await wire.ack((START, 1, 100))
        assert (await wire.identities(400))[-1] == (1, 500)


async def test_an_event_is_bytes_with_a_line_end(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, [(1, 1, "ü".encode()), (1, 2, b"aa\r\n"), (1, 3, b"\xff\r\n")])
    await standing.database.execute("UPDATE events SET framed = seq > 1")
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        came = await wire.take(3)
    assert [bytes(each["raw_frame"]) for each in came] == ["ü\r\n".encode(), b"aa\r\n", b"\xff\r\n"]
    assert all("raw_read_line" not in each for each in came)


async def test_both_generations_follow_one_stream_and_share_one_record(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 3))
    async with receiver(standing.url, standing.token, START) as first:
        assert await first.identities(3) == run(1, 1, 2, 3)
        await acks_written(standing, e1=3)
        async with receiver_v12(standing.url, standing.token, live(START)) as second:
            await second.applied()
            await store(standing.database, stream, events(1, 4, 5))
            texts = [each["raw_read_line"] for each in await first.take(2, acking=False)]
            frames = [bytes(each["raw_frame"]).decode() for each in await second.take(2)]
            assert frames == [f"{text}\r\n" for text in texts] == ["1/4\r\n", "1/5\r\n"]
            await acks_written(standing, e1=5)


@pytest.mark.parametrize(
    ("earliest", "resume", "floor", "expected"),
    [
        pytest.param(None, [], 3, run(3, 1, 2, 3), id="the current epoch"),
        pytest.param(2, [], 2, run(2, 1, 2, 3) + run(3, 1, 2, 3), id="the one asked for"),
        pytest.param(0, [], 1, run(1, 1, 2, 3) + run(2, 1, 2, 3) + run(3, 1, 2, 3), id="all"),
        pytest.param(9, [], 3, run(3, 1, 2, 3), id="at most the current one"),
        pytest.param(
            1, [(START, 2, 2)], 2, run(2, 3) + run(3, 1, 2, 3), id="a resume beats what is asked for"
        ),
        pytest.param(
            3, [(START, 1, 2)], 1, run(1, 3) + run(2, 1, 2, 3) + run(3, 1, 2, 3), id="also below it"
        ),
        pytest.param(None, [(START, 3, 2), (START, 2, 3)], 2, run(3, 3), id="a resume for each epoch"),
        pytest.param(None, [(START, 2, 0)], 2, run(2, 1, 2, 3) + run(3, 1, 2, 3), id="a resume of nothing"),
        pytest.param(None, [(START, 2, 4)], 3, run(3, 1, 2, 3), id="a resume beyond what is stored"),
        pytest.param(None, [(START, 4, 0)], 3, run(3, 1, 2, 3), id="a resume beyond the current epoch"),
        pytest.param(
            None,
            [(START, 0, 0), (START, 2**31, 7), (START, 2**53 - 1, 0)],
            3,
            run(3, 1, 2, 3),
            id="a resume of epochs that cannot be",
        ),
    ],
)
async def test_a_stream_is_sent_from_its_floor_on(
    standing: Standing,
    earliest: int | None,
    resume: list[Cursor],
    floor: int,
    expected: list[tuple[int, int]],
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 3) + events(2, 1, 3) + events(3, 1, 3))
    mode = live(START, earliest={} if earliest is None else {START: earliest})
    async with receiver_v12(standing.url, standing.token, mode, resume=resume) as wire:
        assert await wire.identities(len(expected)) == expected
        assert await wire.applied() == ("live (1 streams)", 1, [])
        # What lies below the floor is not sent live either, whatever comes late above it.
        await store(standing.database, stream, [(epoch, 9, b"late") for epoch in (1, 2, 3)] + events(4, 1, 1))
        late = run(1, 9) * (floor <= 1) + run(2, 9) * (floor <= 2) + run(3, 9) + run(4, 1)
        assert await wire.identities(len(late)) == late
        assert await wire.silent(for_s=0.1)


async def test_a_stream_of_which_somebody_holds_the_row_is_known(standing: Standing) -> None:
    """It begins when the row is free again; what is warned of is what does not exist."""
    stream = await make_stream(standing.database, *START)
    locker = await asyncpg.connect(standing.fanout.database_url)
    try:
        async with locker.transaction():
            await locker.execute("SELECT FROM streams WHERE stream_id = $1 FOR UPDATE", stream)
            async with receiver_v12(standing.url, standing.token, live(START, OTHER)) as wire:
                assert await wire.applied() == ("live (2 streams)", 1, [UNKNOWN])
    finally:
        await locker.close()


async def test_what_was_acked_is_the_floor_of_the_next_session_whatever_that_asks_for(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 3) + events(2, 1, 3))
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        assert await wire.identities(3) == run(2, 1, 2, 3)
        await acks_written(standing, e2=3)
    await store(standing.database, stream, events(1, 4, 4) + events(2, 8, 9) + events(3, 1, 1))
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        assert await wire.identities(3) == run(2, 8, 9) + run(3, 1)
        await acks_written(standing, e2=9, e3=1)
    # Late, while it was away: below what it has acked, and below its floor.
    await store(standing.database, stream, events(2, 4, 5) + events(1, 5, 5))
    async with receiver_v12(standing.url, standing.token, live(START, earliest={START: 1})) as wire:
        assert await wire.identities(2) == run(2, 4, 5)
        await wire.applied()
        assert await wire.silent(for_s=0.1)


@pytest.mark.parametrize("acked", [[], [1], [1, 2]])
async def test_an_epoch_that_a_session_began_with_is_the_next_ones_floor_before_any_ack(
    standing: Standing, acked: list[int]
) -> None:
    """Also where it had no read then: all of it comes while the receiver is away, and a newer epoch behind it."""
    stream = await make_stream(standing.database, *START)
    if acked:  # an epoch before it, of which the receiver has had some
        await store(standing.database, stream, events(1, 1, 2))
        async with receiver_v12(standing.url, standing.token, live(START)) as wire:
            assert await wire.identities(2, acking=False) == run(1, 1, 2)
            await wire.ack((START, 1, acked[-1]))
            await acks_written(standing, e1=acked[-1])
    command = "UPDATE streams SET stream_epoch = stream_epoch + 1 WHERE stream_id = $1"
    await standing.database.execute(command, stream)
    rest = run(1, 2) * (acked == [1])
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        # Taken here and not acked: what `applied` passes over it acks, and that may be written before the next session.
        assert await wire.identities(len(rest), acking=False) == rest
        await wire.applied()
    await store(standing.database, stream, events(2, 1, 3))
    await standing.database.execute(command, stream)
    await store(standing.database, stream, events(3, 1, 1))
    expected = rest + run(2, 1, 2, 3) + run(3, 1)
    async with receiver_v12(standing.url, standing.token, live(START, earliest={START: 3})) as wire:
        assert await wire.identities(len(expected)) == expected


async def test_what_it_does_not_want_it_is_not_owed(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 5) + events(2, 1, 3))
    behind = "SELECT behind FROM receiver_streams WHERE subscribed"
    async with receiver_v12(standing.url, standing.token, live(START)) as wire:
        assert await wire.identities(3, acking=False) == run(2, 1, 2, 3)
        assert await standing.database.fetchval(behind) == 3
        await wire.ack((START, 2, 3))

        async def has_everything() -> bool:
            return bool(await standing.database.fetchval(behind) == 0)

        await wait_until(has_everything, what="nothing to be owed")
        await store(standing.database, stream, events(1, 6, 6))
        assert await standing.database.fetchval(behind) == 0
    async with receiver(standing.url, standing.token, START) as first:
        assert await first.identities(6) == run(1, 1, 2, 3, 4, 5, 6)


async def test_a_resume_adds_no_stream(standing: Standing) -> None:
    for name in (START, OTHER):
        await store(standing.database, await make_stream(standing.database, *name), events(1, 1, 1))
    async with receiver_v12(standing.url, standing.token, live(START), resume=[(OTHER, 1, 0)]) as wire:
        assert [each["forwarder_id"] for each in await wire.take(1)] == ["start"]
        assert await wire.applied() == ("live (1 streams)", 1, [])


async def test_a_stream_that_is_not_there_yet_is_warned_of_and_begins_when_it_is(standing: Standing) -> None:
    await make_stream(standing.database, *START)
    async with receiver_v12(standing.url, standing.token, live(START, OTHER, START)) as wire:
        assert await wire.applied() == ("live (2 streams)", 1, [UNKNOWN])
        stream = await make_stream(standing.database, *OTHER)
        assert await wire.applied() == ("live (2 streams)", 2, [])
        await store(standing.database, stream, events(1, 1, 2))
        assert await wire.identities(2) == run(1, 1, 2)


async def test_deleted_cursors_bring_back_all_from_the_floor_on_that_the_session_began_with(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 3) + events(2, 1, 3))
    mode = live(START, earliest={START: 2})
    async with receiver_v12(standing.url, standing.token, mode, resume=[(START, 1, 1)]) as wire:
        assert await wire.identities(5) == run(1, 2, 3) + run(2, 1, 2, 3)
        await acks_written(standing, e1=3, e2=3)
        await standing.database.execute("DELETE FROM receiver_cursors")
        assert await wire.identities(6) == run(1, 1, 2, 3) + run(2, 1, 2, 3)
