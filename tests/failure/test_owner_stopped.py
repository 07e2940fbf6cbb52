"""The gateway that holds a device's session is stopped (SIGSTOP), and wakes up when the device has gone elsewhere."""

import asyncio
import signal

from tests.failure.facts import Database, counts, lines
from tests.failure.wire import READER, batch, forwarder, read, reads
from tests.services import make_token, services
from tests.waiting import stretched, wait_until


async def test_the_device_is_back_within_15_s_and_the_sleeper_writes_and_acks_nothing(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, gateway=2, fanout=0) as running:
        sleeper = running.gateways[0]
        async with forwarder(sleeper.url, token) as old:
            await old.send(batch(read(1)))
            await old.ack()
            sleeper.signal(signal.SIGSTOP)
            # It lies in the sleeper's socket and is not its to write once the device has another session.
            await old.send(batch(*reads(2, 9), read(10, "from the old session")))
            async with asyncio.timeout(stretched(15)):
                async with forwarder(running.gateways[1].url, token) as new:
                    await new.send(batch(read(2)))
                    assert await new.ack() == [(READER, 1, 2)]
                    sleeper.signal(signal.SIGCONT)
                    assert await old.closed() in (1006, 1008)
                    assert [each["kind"] for each in old.seen if each["kind"] != "error"] == [
                        "heartbeat",
                        "forwarder_ack",
                    ]
                    await new.send(batch(read(3)))
                    assert await new.ack() == [(READER, 1, 3)]
        # The sleeper goes on as a good gateway.
        await wait_until(
            lambda: database.fetchval("SELECT count(*) = 2 FROM live_processes WHERE role = 'gateway'"),
            what="the sleeper to be alive again",
        )
        async with forwarder(sleeper.url, token) as back:
            await back.send(batch(read(4)))
            assert await back.ack() == [(READER, 1, 4)]
    assert [row[1:] for row in await lines(database, "f", READER)] == [(n, f"line {n}") for n in range(1, 5)]
    assert (await counts(database)).exact
