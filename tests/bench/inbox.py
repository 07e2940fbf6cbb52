"""The inbox under sustained full load, and the same while a snapshot elsewhere keeps vacuum from removing anything."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from shared.db.connections import Connection
from tests.bench.fleet import Drainer
from tests.bench.ground import NO_PAUSE, Ground
from tests.bench.ingest import FORWARDERS, join_drainers
from tests.bench.report import Row, Target, percentile, row, say
from tests.services import services

__all__ = ["measure"]

BATCH = 500
SECONDS = 20.0  # each of the two parts
LOOK_EVERY_S = 0.25
ENDLESS = 50_000_000
MIB = 2**20
_SIZE = "SELECT pg_total_relation_size('inbox')"


@dataclass
class Span:
    """What was seen in one stretch of time."""

    sizes_mib: list[float] = field(default_factory=list)
    acks_ms: list[float] = field(default_factory=list)
    events_per_second: float = 0.0


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Load the stack to the full, half of the time beside a long snapshot; `rounds` says how many such pairs."""
    plain, beside = [], []
    async with ground.site() as site, services(site.url, LOG_LEVEL="warn", **NO_PAUSE) as running:
        names = [f"f{n}" for n in range(FORWARDERS)]
        forwarders = await join_drainers(
            site, [running.gateways[0].url], names, events=ENDLESS, size=BATCH, prepared=False
        )
        for each in forwarders:
            each.start()
        for number in range(rounds):
            plain.append(await watch(site.database, forwarders))
            async with snapshot(site.url):
                beside.append(await watch(site.database, forwarders))
            say(
                f"inbox, round {number + 1}: at most {max(plain[-1].sizes_mib):.0f} MiB,"
                f" beside a snapshot {max(beside[-1].sizes_mib):.0f} MiB"
            )
        for each in forwarders:
            each.close()
    return [*_rows("under full load", plain), *_rows("beside a long snapshot", beside, plain)]


def _rows(when: str, spans: Sequence[Span], against: Sequence[Span] = ()) -> list[Row]:
    return [
        row(
            f"ingest {when}",
            [each.events_per_second for each in spans],
            "events/s",
            against=[each.events_per_second for each in against],
        ),
        row(f"ack {when}, p99", [percentile(each.acks_ms, 0.99) for each in spans], "ms"),
        row(
            f"inbox {when}, largest",
            [max(each.sizes_mib) for each in spans],
            "MiB",
            target=Target("at most", 256),
        ),
    ]


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[None]:
    """Hold a snapshot, as a long report or a backup of another table does."""
    reader = await asyncpg.connect(url)
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    await reader.fetchval("SELECT count(*) FROM streams")
    try:
        yield
    finally:
        await reader.close()


async def watch(database: Connection, forwarders: Sequence[Drainer]) -> Span:
    """Look for a while."""
    span = Span()
    for each in forwarders:
        each.acks_s.clear()
    before = sum(each.events for each in forwarders)
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        span.sizes_mib.append(await database.fetchval(_SIZE) / MIB)
        await asyncio.sleep(LOOK_EVERY_S)
    span.events_per_second = (sum(each.events for each in forwarders) - before) / passed
    span.acks_ms = [1000 * delay for each in forwarders for delay in each.acks_s]
    return span
