"""One stream to many receivers, live: a fanout against a bare aiohttp server, in turns, in one run.

    python -m tests.bench.delivery_fanout --server postgresql://postgres@127.0.0.1:5432/postgres

Both send the same events at the same pace to the same clients, and hear the same acks. The pace is `--rate`;
with a pace that neither can keep, it shows how much each can deliver at all.
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
import click
import uvloop

from deploy.stack.child import ends_with_parent
from shared.database import Connection
from tests.bench.crowd import Crowd
from tests.bench.report import cpu_seconds, percentile, say, summary
from tests.bench.scratch import fanout_over_scratch
from tests.delivery.stored import make_stream, store
from tests.rooms import free_port, make_token

STREAM = ("bench", "10.0.0.1:10000")
EVERY_S = 0.01


@dataclass
class Rounds:
    """What was measured of one server, a value for each round."""

    name: str
    delivered: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def report(self) -> None:
        """Print the medians."""
        say(summary(f"{self.name}: delivered", self.delivered, "events/s"))
        say(summary(f"{self.name}: messages", self.messages, "messages/s"))
        say(summary(f"{self.name}: processor", self.cpu, "cores"))
        say(summary(f"{self.name}: latency p50", self.p50_ms, "ms"))
        say(summary(f"{self.name}: latency p99", self.p99_ms, "ms"))


async def one_round(crowd: Crowd, pid: int, rounds: Rounds, sending: "asyncio.Future[None]") -> None:
    """Measure while `sending` is under way."""
    began, cpu = time.monotonic(), cpu_seconds(pid)
    events, messages = crowd.events, crowd.messages
    crowd.latencies_s.clear()
    await sending
    passed = time.monotonic() - began
    rounds.delivered.append((crowd.events - events) / passed)
    rounds.messages.append((crowd.messages - messages) / passed)
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


async def measure(server: str, *, receivers: int, rate: float, seconds: float, rounds: int) -> None:
    """Run both servers and take turns."""
    async with (
        fanout_over_scratch(server, "delivery_fanout") as (fanout, database),
        bare_server() as (url, pid),
    ):
        token = await make_token(database, "receiver", "bench")
        feeder = Feeder(database, await make_stream(database, *STREAM))
        ours, theirs = Crowd(fanout.url, [STREAM]), Crowd(url, [STREAM])
        for crowd in (ours, theirs):
            await crowd.join([token] * receivers)
        found = Rounds("fanout"), Rounds("bare")
        await feeder.run(rate, 1.0)
        await run_bare(url, rate, 1.0)
        for number in range(rounds):
            await one_round(ours, fanout.pid, found[0], asyncio.ensure_future(feeder.run(rate, seconds)))
            await settled(ours)
            await one_round(theirs, pid, found[1], asyncio.ensure_future(run_bare(url, rate, seconds)))
            await settled(theirs)
            say(f"round {number + 1}: {found[0].delivered[-1]:,.0f} against {found[1].delivered[-1]:,.0f}")
        for each in found:
            each.report()
        ratios = [a / b for a, b in zip(found[0].delivered, found[1].delivered, strict=True)]
        say(summary("delivered, fanout / bare", ratios, ""))
        whole = all(member.events == feeder.seq for member in ours.members)
        say(f"every event at every receiver: {whole}; connections lost: {ours.lost}")
        for crowd in (ours, theirs):
            crowd.leave()


@click.command()
@click.option("--server", default="postgresql://postgres@127.0.0.1:54321/postgres", show_default=True)
@click.option("--receivers", default=500, show_default=True)
@click.option("--rate", default=500.0, show_default=True, help="events a second")
@click.option("--seconds", default=5.0, show_default=True, help="for each round")
@click.option("--rounds", default=5, show_default=True)
def main(server: str, receivers: int, rate: float, seconds: float, rounds: int) -> None:
    """Measure."""
    uvloop.run(measure(server, receivers=receivers, rate=rate, seconds=seconds, rounds=rounds))


if __name__ == "__main__":
    main()
