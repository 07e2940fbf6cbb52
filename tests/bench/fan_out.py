"""One stream to many receivers, live: a fanout against a bare aiohttp server, in turns, in one run.

Both send the same events at the same pace to the same clients, and receive the same acks.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from deploy.local.child import ends_with_parent
from shared.db.connections import Connection
from tests.bench.crowd import Crowd
from tests.bench.ground import NO_PAUSE, Ground, receivers, running
from tests.bench.report import Row, Target, cpu_seconds, percentile, row, say
from tests.delivery.stored import make_stream, store
from tests.ports import free_port

STREAM = ("bench", "10.0.0.1:10000")
RECEIVERS = 500
RATE, SECONDS = 500.0, 5.0
EVERY_S = 0.01


@dataclass
class Rounds:
    """What was measured of one server, a value for each round."""

    name: str
    delivered: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def rows(self, against: "Rounds | None" = None) -> list[Row]:
        """Return the figures; delivered events also as a share of the other server's."""
        return [
            row(
                f"{self.name} to {RECEIVERS} receivers",
                self.delivered,
                "deliveries/s",
                against=against.delivered if against else (),
                target=Target("at least", 0.6, of="ratio") if against else None,
            ),
            row(f"{self.name}: processor", self.cpu, "cores"),
            row(f"{self.name}: latency, p50", self.p50_ms, "ms"),
            row(f"{self.name}: latency, p99", self.p99_ms, "ms"),
        ]


async def one_round(crowd: Crowd, pid: int, rounds: Rounds, sending: "asyncio.Future[None]") -> None:
    """Measure while `sending` is under way."""
    began, cpu = time.monotonic(), cpu_seconds(pid)
    events = crowd.events
    crowd.latencies_s.clear()
    await sending
    passed = time.monotonic() - began
    rounds.delivered.append((crowd.events - events) / passed)
    rounds.cpu.append((cpu_seconds(pid) - cpu) / passed)
    rounds.p50_ms.append(1000 * percentile(crowd.latencies_s, 0.5))
    rounds.p99_ms.append(1000 * percentile(crowd.latencies_s, 0.99))


class Feeder:
    """Stores events at a pace, as a writer does."""

    def __init__(self, database: Connection, stream_id: UUID) -> None:
        self._database = database
        self._stream_id = stream_id
        self.seq = 0

    async def run(self, rate: float, seconds: float) -> None:
        """Store `rate` events a second."""
        began, first = time.monotonic(), self.seq
        while (passed := time.monotonic() - began) < seconds:
            due = first + int(rate * passed)
            if due > self.seq:
                events = [(1, seq, f"{seq:a>36}".encode()) for seq in range(self.seq + 1, due + 1)]
                await store(self._database, self._stream_id, events, reader_timestamp=f"{time.time():.6f}")
                self.seq = due
            await asyncio.sleep(EVERY_S)


async def run_bare(url: str, rate: float, seconds: float) -> None:
    """Have the bare server send."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/run", params={"rate": rate, "seconds": seconds}) as answer,
    ):
        answer.raise_for_status()


async def settled(crowd: Crowd) -> None:
    """Wait until nothing more comes."""
    before = -1
    while crowd.events != before:
        before = crowd.events
        await asyncio.sleep(0.5)


@asynccontextmanager
async def bare_server() -> AsyncIterator[tuple[str, int]]:
    """Run the bare server; yields its address and process id."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare", str(port)]
    bare = await asyncio.create_subprocess_exec(*ends_with_parent(command, signal.SIGKILL))
    try:
        yield f"http://127.0.0.1:{port}", bare.pid
    finally:
        bare.kill()
        await bare.wait()


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Run both servers and take turns."""
    async with (
        ground.site() as site,
        running("fanout", site, **NO_PAUSE) as fanout,
        bare_server() as (url, pid),
    ):
        tokens = await receivers(site, RECEIVERS)
        feeder = Feeder(site.database, await make_stream(site.database, *STREAM))
        ours, theirs = Crowd(fanout.url, [STREAM]), Crowd(url, [STREAM])
        for crowd in (ours, theirs):
            await crowd.join(tokens)
        found = Rounds("fan-out"), Rounds("bare aiohttp")
        await feeder.run(RATE, 1.0)
        await run_bare(url, RATE, 1.0)
        for number in range(rounds):
            await one_round(ours, fanout.pid, found[0], asyncio.ensure_future(feeder.run(RATE, SECONDS)))
            await settled(ours)
            await one_round(theirs, pid, found[1], asyncio.ensure_future(run_bare(url, RATE, SECONDS)))
            await settled(theirs)
            say(
                f"fan-out, round {number + 1}: {found[0].delivered[-1]:,.0f} of {found[1].delivered[-1]:,.0f}"
            )
        if ours.lost or any(member.events != feeder.seq for member in ours.members):
            raise AssertionError("not every event reached every receiver")
        for crowd in (ours, theirs):
            crowd.leave()
    return [*found[1].rows(), *found[0].rows(against=found[1])]
