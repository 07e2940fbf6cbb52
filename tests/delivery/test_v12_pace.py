"""What receivers of the second generation can take, as they are in the field: for seconds after their heartbeat they
read nothing, while they ask the HTTP API, and then have two hops of 256 reads behind a socket from which all comes at
once.
"""

import asyncio
from collections.abc import Sequence

import aiohttp
import pytest

from deploy.simulation.devices.relay import Relay
from fanout.pace import Pace
from fanout.settings import FanoutSettings
from shared.db.connections import Connection
from tests.delivery.conftest import running_fanout
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import START, Message
from tests.delivery.wire_v12 import WireV12, connect_v12, live
from tests.waiting import wait_until

DELIVERED = "rtserver_events_delivered_total"
# What its DBF writer takes on a busy machine.
TAKES_PER_S = 3_000.0


class Software:
    """The race software behind a receiver that acks what comes before it has passed on any of it."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.relay: Relay[Message] = Relay(places=256, takes_per_s=TAKES_PER_S, consume=self._consume)

    def _consume(self, events: Sequence[Message]) -> None:
        self.seqs += [event["seq"] for event in events]

    async def read(self, wire: WireV12, last: int) -> None:
        """Take and ack batches until the last read has come to the software."""
        while not self.seqs or self.seqs[-1] != last:
            try:
                events = await wire.batch(within_s=0.05)
            except TimeoutError:  # what came is still on its way
                continue
            for event in events:
                self.relay.put(event)
            await wire.ack_all(events)


async def be_deaf(url: str, requests: int) -> None:
    """Ask over HTTP, one after the other, and look at the socket no more than a real one does meanwhile: not at all."""
    async with aiohttp.ClientSession() as http:
        for _ in range(requests):
            async with http.get(f"{url}/healthz") as answer:
                assert answer.status == 200
            await asyncio.sleep(0.4)


async def test_a_receiver_that_is_deaf_at_first_and_drops_what_it_cannot_hold_loses_nothing(
    database_url: str, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    await store_many(database, stream, 1_500)
    software = Software()
    async with (
        running_fanout(database_url, PACE_MS="50") as fanout,
        software.relay.passing(),
        connect_v12(fanout.url, token) as wire,
    ):
        await wire.greet_v12(live(START))
        await be_deaf(fanout.url, 4)
        # One message, and nothing more for whoever answers no ping: it would all come in one burst.
        assert await fanout.metric(DELIVERED) == 100
        await software.read(wire, 1_500)
        # Live, and a thousand at once.
        await store(database, stream, [(1, seq, b"live") for seq in range(1_501, 2_501)])
        await software.read(wire, 2_500)
    assert software.seqs == list(range(1, 2_501))
    assert software.relay.dropped == 0


async def test_who_never_acks_gets_the_next_message_half_a_second_after_its_pong(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 600)
    async with running_fanout(database_url, PACE_MS="300") as fanout:

        async def delivered() -> float:
            return await fanout.metric(DELIVERED)

        async with connect_v12(fanout.url, token) as wire:
            await wire.greet_v12(live(START))
            await wait_until(delivered, what="the first message")
            await asyncio.sleep(3 * 0.3)
            assert await delivered() == 100  # it answers pings only while somebody waits for a message
            began = asyncio.get_running_loop().time()
            assert len(await wire.identities(300, acking=False)) == 300
            assert asyncio.get_running_loop().time() - began >= 2 * 0.3
    batches = [n for n, kind in enumerate(wire.frames) if kind == "receiver_event_batch"]
    assert all(wire.frames[n + 1] == "ping" for n in batches[:-1])


@pytest.mark.parametrize(("own", "pause_s"), [(None, 0.05), (0, 0.0), (4_000, 0.025)])
def test_the_usual_pace_is_fifty_milliseconds_for_a_hundred_reads_live_as_well(
    own: int | None, pause_s: float
) -> None:
    settings = FanoutSettings.read({"database_url": "postgresql://nowhere"})
    for is_live in (False, True):
        pace = Pace.of_second_generation(settings, own)
        pace.sent(1_000.0, 100, live=is_live)
        assert round(pace.pause_s(1_000.0), 9) == pause_s
