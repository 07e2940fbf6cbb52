"""What a reader's memory had becomes events like any read: once, whoever dies, and in no session's way."""

import signal

import pytest

from gateway import memory
from gateway.store.memory import end_parts, take_parts
from tests.failure.facts import Database, counts, lines, settled
from tests.failure.wire import READER, batch, forwarder, read, reads
from tests.gateway.conftest import Inside, running_gateway
from tests.services import make_token, services
from tests.waiting import wait_until

MEMORY = f"{READER}#memory"
LINE = "aa400000000123450a2a01123018455927a7"
FSLS = "aa400000000123450a2a01123018455927a7FS"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "POLL_S", 0.05)


async def leave(database: Database, *texts: str, first_seq: int = 1, epoch: int = 1) -> None:
    await database.execute(
        "INSERT INTO memory_parts (forwarder_id, reader_ip, stream_epoch, first_seq, lines)"
        " VALUES ('f', $1, $2, $3, $4)",
        READER,
        epoch,
        first_seq,
        [text.encode() for text in texts],
    )


async def all_taken(database: Database) -> None:
    await wait_until(
        lambda: database.fetchval("SELECT count(*) = 0 FROM memory_parts"),
        what="all that was left to be stored",
    )


async def stored(database: Database) -> list[tuple[int, str]]:
    return [(row[1], row[2]) for row in await lines(database, "f", MEMORY)]


async def test_what_was_left_is_stored_as_a_stream_of_its_own(
    inside: Inside, database: Database, writer: object
) -> None:
    await leave(database, LINE, FSLS, "aa40", LINE, epoch=3)
    await all_taken(database)
    assert await stored(database) == [
        (n, f"{each}\r\n") for n, each in enumerate([LINE, FSLS, "aa40", LINE], 1)
    ]
    rows = await database.fetch(
        "SELECT stream_epoch, reader_timestamp, read_type, tag_id, parse_error, framed FROM events ORDER BY seq"
    )
    good = ("000000012345", None, True)
    assert [tuple(row) for row in rows] == [
        (3, "2001-12-30T18:45:59.390", "raw", *good),
        (3, "2001-12-30T18:45:59.390", "fsls", *good),
        (3, "", "raw", None, "length", True),
        (3, "2001-12-30T18:45:59.390", "raw", *good),
    ]
    # No session began for it, and none was touched.
    assert await database.fetchval("SELECT count(*) FROM forwarder_sessions") == 0


async def test_it_is_in_no_sessions_way_and_no_session_in_its(
    inside: Inside, other: Inside, database: Database, writer: object
) -> None:
    async with forwarder(inside.url, inside.token, [READER]) as old:
        await old.send(batch(read(1)))
        await old.ack()
        before = await database.fetchrow("SELECT * FROM forwarder_sessions")
        await leave(database, LINE)
        await all_taken(database)
        assert await database.fetchrow("SELECT * FROM forwarder_sessions") == before
        await old.send(batch(read(2)))
        assert await old.ack() == [(READER, 1, 2)]
    # The forwarder's newer sessions outdate the old one, and nothing of this.
    async with forwarder(other.url, other.token, [READER]) as new:
        await leave(database, LINE, first_seq=2)
        await all_taken(database)
        await new.send(batch(read(3)))
        assert await new.ack() == [(READER, 1, 3)]
    assert await stored(database) == [(1, f"{LINE}\r\n"), (2, f"{LINE}\r\n")]
    assert (await counts(database)).exact


async def test_no_device_has_a_reader_of_that_name(
    inside: Inside, database: Database, writer: object
) -> None:
    async with forwarder(inside.url, inside.token, [READER, MEMORY]) as wire:
        await wire.send(batch(read(1), read(1, reader=MEMORY)))
        assert await wire.ack() == [(READER, 1, 1)]
    assert await database.fetchval("SELECT array_agg(reader_ip) FROM streams") == [READER]
    complaint = await database.fetchval("SELECT complaint FROM forwarder_faults")
    assert complaint == f"a name that ends in #memory is no reader's; not taken: {MEMORY}"


async def test_two_gateways_share_what_was_left(
    inside: Inside, other: Inside, database: Database, writer: object
) -> None:
    for start in range(40):
        await leave(database, LINE, LINE, first_seq=1 + 2 * start)
    await all_taken(database)
    assert [seq for seq, _ in await stored(database)] == list(range(1, 81))
    # One that is held up beyond its lease is taken for dead, and both stage the same: that is stored once.
    now = await counts(database)
    assert (now.exact, now.conflict) == (True, 0)


async def test_what_was_refused_stays_and_is_tried_again(
    inside: Inside, database: Database, writer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "AGAIN_AFTER_S", 0.2)
    await database.execute("ALTER TABLE inbox ADD CONSTRAINT refuses CHECK (event_count <> 2)")
    await leave(database, LINE, LINE)
    await leave(database, LINE, first_seq=3)
    await wait_until(
        lambda: database.fetchval("SELECT count(*) = 1 FROM memory_parts"),
        what="what is not refused to be stored",
    )
    assert [seq for seq, _ in await stored(database)] == [3]
    await database.execute("ALTER TABLE inbox DROP CONSTRAINT refuses")
    await all_taken(database)
    assert [seq for seq, _ in await stored(database)] == [1, 2, 3]


async def test_nothing_is_taken_away_that_is_not_stored(inside: Inside, database: Database) -> None:
    """Whatever a gateway says of it: without a writer its parts wait in the inbox."""
    await leave(database, LINE)
    await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM inbox"), what="it to be staged")
    part_id = await database.fetchval("SELECT part_id FROM memory_parts")
    assert await end_parts(inside.gateway.process.pool, [part_id]) == set()
    assert await database.fetchval("SELECT count(*) FROM memory_parts") == 1


async def test_what_a_living_gateway_has_in_hand_no_other_takes(
    inside: Inside, other: Inside, database: Database
) -> None:
    await leave(database, LINE)
    await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM inbox"), what="it to be staged")
    holder = await database.fetchval("SELECT gateway_id FROM memory_parts")
    for each in (inside, other):
        process = each.gateway.process
        taken = await take_parts(process.pool, process.presence.process_id, under_way=(), most=9)
        # To its own gateway it is given again: that one may have lost the answer.
        assert len(taken) == (process.presence.process_id == holder)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_gateway_that_dies_in_the_middle_loses_and_doubles_nothing(
    database_url: str, database: Database, how: signal.Signals
) -> None:
    for start in range(8):
        await leave(database, *[LINE] * 5, first_seq=1 + 5 * start)
    async with services(database_url, gateway=1, fanout=0) as running:
        gateway, writer = running.gateways[0], running.writers[0]
        writer.signal(signal.SIGSTOP)
        # It has staged some, and knows of no outcome.
        await wait_until(
            lambda: database.fetchval("SELECT count(*) > 0 FROM inbox"), what="some to be staged"
        )
        gateway.signal(how)
        writer.signal(signal.SIGCONT)
        token = await make_token(database, "forwarder", "f")
        async with running_gateway(database_url, token) as second:
            # Behind the lease of the first, which is 8 s long and may just have been renewed.
            await all_taken(database)
            if how is signal.SIGSTOP:
                # What it has in hand it stages again, perhaps: that is a retransmit.
                gateway.signal(signal.SIGCONT)
                await gateway.ready()
            async with forwarder(second.url, token) as wire:
                await wire.send(batch(*reads(1, 3)))
                assert await wire.ack() == [(READER, 1, 3)]
        await settled(database)
    assert await stored(database) == [(n, f"{LINE}\r\n") for n in range(1, 41)]
    now = await counts(database)
    assert (now.exact, now.conflict) == (True, 0)
