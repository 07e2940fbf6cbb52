"""A read's way from a forwarder's socket to a receiver's."""

import asyncio

import asyncpg

from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from tests.services import make_token, services
from tests.waiting import stretched, wait_until

READER = "10.0.0.1:10000"


async def test_reads_reach_the_receiver_in_order_and_the_table_once_and_each_role_says_how_many(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    token = await make_token(database, "forwarder", "start-line")
    receiver_token = await make_token(database, "receiver", "tent")
    async with services(database_url) as running:
        forwarder = Forwarder(
            url=running.gateways[0].url,
            token=token,
            device_id="start-line",
            readers=[READER],
            backoff_s=(0.05, 0.5),
        )
        receiver = Receiver(
            url=running.fanouts[0].url,
            token=receiver_token,
            streams=[("start-line", READER)],
            manners=AT_ONCE,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(forwarder.run())
            tasks.create_task(receiver.run())
            lines = [f"line {number}" for number in range(500)]
            for line in lines:
                forwarder.record(READER, line)
            busy: set[str] = set()

            async def all_busy() -> bool:
                lines.append(f"line {len(lines)}")
                forwarder.record(READER, lines[-1])
                rows = await database.fetch("SELECT role FROM processes WHERE events_per_second > 0")
                busy.update(row["role"] for row in rows)
                return busy == {"gateway", "writer", "fanout"}

            await wait_until(all_busy, what="each role to say what it does")
            async with asyncio.timeout(stretched(20)):
                await forwarder.drained()
                await receiver.wait_for(len(lines))
            await forwarder.stop()
            await receiver.stop()
    assert receiver.events["start-line", READER, 1] == list(enumerate(lines, 1))
    rows = await database.fetch("SELECT seq, position, raw_frame FROM events ORDER BY position")
    assert [tuple(row) for row in rows] == [(n, n, line.encode()) for n, line in enumerate(lines, 1)]
