"""No seam: receivers that come and go at random in the middle of full ingest end with exactly the stored set."""

import asyncio
from collections.abc import Callable
from itertools import count
from random import Random

import asyncpg
import pytest

from deploy.simulation.devices.arrivals import Arrivals
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.messages import StreamEpoch
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.db.connections import Connection
from tests.services import Services, make_token, services
from tests.waiting import wait_until

SEED = 20260222
FORWARDERS = ["start", "finish"]
READER = "10.0.0.1:10000"
STREAMS = [(name, READER) for name in FORWARDERS]
RECEIVERS = 60
READS = 1_500


async def stored(database: Connection) -> dict[StreamEpoch, int]:
    """Return how many events of each epoch are stored; their seqs run from 1 without gaps."""
    rows = await database.fetch(
        "SELECT forwarder_id, reader_ip, events.stream_epoch, count(*), max(seq)"
        " FROM events JOIN streams USING (stream_id) GROUP BY 1, 2, 3"
    )
    for row in rows:
        assert row["count"] == row["max"]
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def record(forwarder: Forwarder, random: Random, enough: Callable[[], bool]) -> None:
    """Record reads in bursts, as fast as they are taken, until it is enough; turn the epoch twice on the way."""
    for number in count():
        if number >= READS and enough():
            return
        forwarder.record(READER, f"{forwarder.device_id} {number}")
        if number % 50 == 0:
            await wait_until(lambda: forwarder.journal.backlog < 200, deadline_s=60, what="the gateway")
        if number in (READS // 3, READS // 2):
            # What is under way stays under way: an ack of the next epoch would abandon it.
            await forwarder.drained()
            forwarder.journal.turn_epoch(READER, forwarder.journal.epoch(READER) + random.randint(1, 3))


class Wanderer:
    """A receiver that connects to one fanout or another, stays a while, vanishes or leaves, and comes back."""

    def __init__(self, urls: list[str], token: str, random: Random) -> None:
        self.arrivals = Arrivals()
        self.connections = 0
        self._urls = urls
        self._token = token
        self._random = random

    def connection(self, *, final: bool = False) -> Receiver:
        known = {epoch: each.through for epoch, each in self.arrivals.epochs.items()}
        return Receiver(
            url=self._random.choice(self._urls),
            token=self._token,
            streams=STREAMS,
            manners=AT_ONCE,
            resume=known if self._random.random() < 0.4 else None,
            ack_after_s=0.0 if final else self._random.choice([0.0, 0.0, 0.002, None]),
            keep=False,
            arrivals=self.arrivals,
        )

    async def wander(self, over: asyncio.Event) -> None:
        """Come and go until it is over."""
        while not over.is_set():
            receiver = self.connection()
            enough = self._random.choice([0, 1, 50, 300, 900])
            running = asyncio.ensure_future(receiver.run())
            await receiver.wait_connected()
            await self._stay(receiver, enough, over)
            await (receiver.drop() if self._random.random() < 0.7 else receiver.stop())
            await running

    async def _stay(self, receiver: Receiver, enough: int, over: asyncio.Event) -> None:
        self.connections += 1
        await wait_until(
            lambda: receiver.events_seen >= enough or over.is_set(), deadline_s=120, what="some events"
        )

    async def complete(self, expected: dict[StreamEpoch, int]) -> None:
        """Connect once more and stay until everything is there."""
        receiver = self.connection(final=True)
        running = asyncio.ensure_future(receiver.run())
        await receiver.wait_connected()  # it may have everything already: then it leaves at once
        await wait_until(lambda: self.reads == expected, deadline_s=120, what="everything that is stored")
        await receiver.stop()
        await running

    @property
    def reads(self) -> dict[StreamEpoch, int]:
        """How many different reads of each epoch have come."""
        return {epoch: each.reads for epoch, each in self.arrivals.epochs.items()}


async def ingest(running: Services, database: Connection, random: Random, enough: Callable[[], bool]) -> int:
    """Let all forwarders record until it is enough, and return how many reads that were when all are acked."""
    forwarders = [
        Forwarder(
            url=running.gateways[0].url,
            token=await make_token(database, "forwarder", name),
            device_id=name,
            readers=[READER],
            flush_s=0.0,
        )
        for name in FORWARDERS
    ]
    tasks = [asyncio.ensure_future(each.run()) for each in forwarders]
    await asyncio.gather(*(record(each, random, enough) for each in forwarders))
    await asyncio.gather(*(each.drained() for each in forwarders))
    for each in forwarders:
        await each.stop()
    await asyncio.gather(*tasks)
    return sum(each.recorded for each in forwarders)


@pytest.mark.timeout(400)  # two busy cores carry two hundred connections and two hundred thousand deliveries
async def test_receivers_that_come_and_go_during_ingest_end_with_exactly_what_is_stored(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    random = Random(SEED)
    async with services(database_url, fanout=2, PACE_MS="20", LOG_LEVEL="warn") as running:
        urls = [each.url for each in running.fanouts]
        wanderers = [
            Wanderer(urls, await make_token(database, "receiver", f"tent-{number}"), Random(SEED + number))
            for number in range(RECEIVERS)
        ]
        over = asyncio.Event()
        wandering = [asyncio.ensure_future(each.wander(over)) for each in wanderers]
        recorded = await ingest(
            running,
            database,
            random,
            lambda: sum(each.connections for each in wanderers) > 3 * RECEIVERS,
        )
        over.set()
        await asyncio.gather(*wandering)
        expected = await stored(database)
        await asyncio.gather(*(each.complete(expected) for each in wanderers))
        await wait_until(lambda: no_sessions(database), what="the rows of all sessions to go")
    assert sum(expected.values()) == recorded
    assert len(expected) == len(FORWARDERS) * 3
    for each in wanderers:
        assert {epoch: arrivals.through for epoch, arrivals in each.arrivals.epochs.items()} == expected
        assert [(a.twice, a.backward) for a in each.arrivals.epochs.values()] == [(0, 0)] * len(expected)


async def no_sessions(database: Connection) -> bool:
    return not await database.fetchval("SELECT count(*) FROM receiver_sessions")
