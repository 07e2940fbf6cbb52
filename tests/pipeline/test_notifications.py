"""Notifications between the services: what is staged and what is written is known at once, not at the next poll."""

import statistics
import time

from tests.failure.facts import Database
from tests.failure.wire import READER, batch, forwarder, read
from tests.services import make_token, services
from tests.waiting import stretched

# Without the writer's notification it would be up to 1 s, without the gateway's up to 0.5 s.
FAR_BELOW_A_POLL_S = 0.15


async def test_an_ack_comes_by_notification_and_not_by_poll(database_url: str, database: Database) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        took = []
        for number in range(1, 22):
            began = time.monotonic()
            await wire.send(batch(read(number)))
            assert await wire.ack() == [(READER, 1, number)]
            took.append(time.monotonic() - began)
        assert statistics.median(took) < stretched(FAR_BELOW_A_POLL_S)
        assert await running.gateways[0].metric("rtserver_notifications_received_total") > 10
        assert await running.writers[0].metric("rtserver_notifications_received_total") > 10
