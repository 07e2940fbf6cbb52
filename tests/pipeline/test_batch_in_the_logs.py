"""One name follows a batch through the logs of every service."""

import asyncio
import json

import asyncpg
import pytest

from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from tests.services import make_token, services
from tests.waiting import stretched

READER = "10.0.0.1:10000"
SERVICES = {
    ("gateway", "batch_received"),
    ("writer", "batch_stored"),
    ("gateway", "batch_acked"),
    ("fanout", "batch_sent"),
}


async def test_a_batch_has_one_name_in_the_logs_from_its_gateway_to_its_receiver(
    database_url: str,
    database: "asyncpg.Connection[asyncpg.Record]",
    capfd: pytest.CaptureFixture[str],
) -> None:
    token = await make_token(database, "forwarder", "finish")
    receiver_token = await make_token(database, "receiver", "tent")
    async with services(database_url, LOG_LEVEL="debug", LOG_FORMAT="json") as running:
        forwarder = Forwarder(
            url=running.gateways[0].url, token=token, device_id="finish", readers=[READER], batch_size=10
        )
        receiver = Receiver(
            url=running.fanouts[0].url, token=receiver_token, streams=[("finish", READER)], manners=AT_ONCE
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(receiver.run())
            for number in range(30):
                forwarder.record(READER, f"line {number}")
            tasks.create_task(forwarder.run())
            async with asyncio.timeout(stretched(20)):
                await forwarder.drained()
                await receiver.wait_for(30)
            await forwarder.stop()
            await receiver.stop()
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    seen: dict[str, set[tuple[str, str]]] = {}
    for line in logged:
        if "batch" in line:
            seen.setdefault(line["batch"], set()).add((line["role"], line["event"]))
    assert len(seen) == 3
    assert all(name.startswith("finish/") for name in seen)
    assert all(services_seen == SERVICES for services_seen in seen.values()), seen
