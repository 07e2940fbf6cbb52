"""An administrator deletes a stream's past by runbook.md, by hand, while its forwarder sends."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from tests.deploy.runbook.document import BLOCKS
from tests.failure.facts import Database, counts, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, batch, forwarder, read, reads
from tests.services import make_token, services
from tests.waiting import stretched

_TITLES = {
    False: "delete what is stored of one stream",
    True: "delete the stream as well: names, conflicts and all",
}
_OWN = """
SELECT raw_count, dedup_count, retransmit_count, conflict_count,
       (SELECT count(*) FROM events WHERE events.stream_id = $1)
FROM stream_metrics WHERE stream_id = $1
"""


@pytest.fixture
async def administrator(database_url: str) -> AsyncIterator[Database]:
    """A session at the terminal."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def delete(administrator: Database, stream_id: UUID, *, and_stream: bool) -> None:
    """Run the runbook's statements, inside a transaction."""
    _, _, sql = BLOCKS[_TITLES[and_stream]].text.partition("<<'SQL'\nBEGIN;\n")
    inside, _, _ = sql.partition("COMMIT;")
    # What psql would put in.
    for name, value in {":'stream'": f"'{stream_id}'", ":'by'": "'psql'", ":ROW_COUNT": "0"}.items():
        inside = inside.replace(name, value)
    await administrator.execute(inside)


async def stream_of(database: Database, forwarder_id: str) -> UUID:
    stream_id: UUID = await database.fetchval(
        "SELECT stream_id FROM streams WHERE forwarder_id = $1", forwarder_id
    )
    return stream_id


@pytest.mark.parametrize("and_stream", [False, True])
async def test_the_forwarder_goes_on_and_its_counters_start_again(
    database_url: str, database: Database, administrator: Database, and_stream: bool
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        await wire.send(batch(*reads(1, 20), read(1, "other")))
        assert await wire.ack() == [(READER, 1, 20)]
        await wire.expect("epoch_reset_command")
        async with administrator.transaction():
            await delete(administrator, await stream_of(database, "f"), and_stream=and_stream)
        await wire.send(batch(*reads(21, 25)))
        assert await wire.ack() == [(READER, 1, 25)]
        await wire.send(batch(*reads(1, 3), *reads(26, 27)))  # numbers of deleted reads are free again
        assert await wire.ack() == [(READER, 1, 27)]
        row = await database.fetchrow(_OWN, await stream_of(database, "f"))
    assert row is not None
    assert tuple(row) == (10, 10, 0, 0, 10)


@pytest.mark.parametrize("and_stream", [False, True])
async def test_an_administrator_who_takes_his_time_holds_up_nobody_else(
    database_url: str, database: Database, administrator: Database, and_stream: bool
) -> None:
    tokens = [await make_token(database, "forwarder", name) for name in ("f", "good")]
    async with services(database_url, writer=2, fanout=0) as running:
        url = running.gateways[0].url
        async with forwarder(url, tokens[0]) as wire, forwarder(url, tokens[1]) as neighbour:
            for each in (wire, neighbour):
                await each.send(batch(*reads(1, 20)))
                await each.ack()
            loop = asyncio.get_running_loop()
            async with administrator.transaction():
                await delete(administrator, await stream_of(database, "f"), and_stream=and_stream)
                # Later epochs too: nothing of the stream may be written that is half deleted.
                await wire.send(batch(*reads(21, 25)))
                await wire.send(batch(read(1, epoch=2)))
                until, number = loop.time() + 2.0, 20
                while loop.time() < until:
                    number += 1
                    await neighbour.send(batch(read(number)))
                    assert await neighbour.ack(within_s=stretched(2)) == [(READER, 1, number)]
                assert len(wire.seen) == 2  # its heartbeat and its first ack
            async with asyncio.timeout(stretched(4)):
                assert await wire.ack() == [(READER, 1, 25)]
                assert await wire.ack() == [(READER, 2, 1)]
    assert [row[:2] for row in await events(database, "f")] == [*((1, n) for n in range(21, 26)), (2, 1)]
    assert len(await lines(database, "good", READER)) == number
    assert (await counts(database)).exact


async def events(database: Database, forwarder_id: str) -> list[tuple[int, int, int]]:
    rows = await database.fetch(
        "SELECT events.stream_epoch, seq, position FROM events JOIN streams USING (stream_id)"
        " WHERE forwarder_id = $1 ORDER BY 1, 2",
        forwarder_id,
    )
    return [(row[0], row[1], row[2]) for row in rows]


@pytest.mark.parametrize("and_stream", [False, True])
async def test_deletes_in_the_middle_of_a_race_break_nothing(
    database_url: str, database: Database, administrator: Database, and_stream: bool
) -> None:
    async with (
        services(database_url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways), readers=1) as devices,
    ):
        async with devices.racing():
            for _ in range(5):
                await devices.goes_on(20)
                async with administrator.transaction():
                    await delete(administrator, await stream_of(database, "f0"), and_stream=and_stream)
                assert (await counts(database)).exact
        devices.record(5)
        await devices.drained()
        assert devices.reconnects == 0
        assert (await counts(database)).exact
        # The last of the device's reads is there for sure; of the others nothing is missing.
        device = devices.devices[0]
        *_, last = device.journal.events(device.readers[0])
        assert (last.stream_epoch, last.seq) in [row[:2] for row in await events(database, "f0")]
        assert not await orphans(database)
        for other in devices.devices[1:]:
            (reader,) = other.readers
            sent = [
                (each.stream_epoch, each.seq, each.raw_read_line) for each in other.journal.events(reader)
            ]
            assert await lines(database, other.device_id, reader) == sent


async def orphans(database: Database) -> int:
    """Events of streams that are no more."""
    count: int = await database.fetchval(
        "SELECT count(*) FROM events WHERE stream_id NOT IN (SELECT stream_id FROM streams)"
    )
    return count
