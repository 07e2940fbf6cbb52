"""What receivers that stopped reading cost the others: how long live events take without them and beside them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.crowd import Crowd
from tests.bench.fan_out import Feeder, Rounds, one_round, settled
from tests.bench.ground import NO_PAUSE, Ground, receivers, running
from tests.bench.report import Row, Target, row, say
from tests.delivery.stored import make_stream
from tests.delivery.wire import stopped

__all__ = ["measure"]

STREAM = ("bench", "10.0.0.1:10000")
RECEIVERS, STOPPED = 100, 100
RATE, SECONDS = 500.0, 5.0
# By then a receiver that does not read has all that its socket takes, and its sender waits.
STUCK_AFTER_S = 2.0


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns."""
    alone, beside = Rounds("live receivers alone"), Rounds("live receivers beside stopped ones")
    async with ground.site() as site, running("fanout", site, **NO_PAUSE) as fanout:
        feeder = Feeder(site.database, await make_stream(site.database, *STREAM))
        crowd = Crowd(fanout.url, [STREAM])
        await crowd.join(await receivers(site, RECEIVERS))
        await feeder.run(RATE, STUCK_AFTER_S)
        for number in range(rounds):
            await one_round(crowd, fanout.pid, alone, asyncio.ensure_future(feeder.run(RATE, SECONDS)))
            await settled(crowd)
            async with stuck(fanout.url, await receivers(site, STOPPED, f"stopped-{number}")):
                await feeder.run(RATE, STUCK_AFTER_S)
                await one_round(crowd, fanout.pid, beside, asyncio.ensure_future(feeder.run(RATE, SECONDS)))
                await settled(crowd)
            say(f"slow, round {number + 1}: p99 {alone.p99_ms[-1]:.1f} ms, beside {beside.p99_ms[-1]:.1f} ms")
        if crowd.lost or any(member.events != feeder.seq for member in crowd.members):
            raise AssertionError("not every event reached every receiver")
        crowd.leave()
    target = Target("at most", 1.5, of="ratio")
    return [
        row(f"live to {RECEIVERS} receivers, p99", alone.p99_ms, "ms"),
        row(
            f"beside {STOPPED} that read nothing, p99",
            beside.p99_ms,
            "ms",
            against=alone.p99_ms,
            target=target,
        ),
    ]


@asynccontextmanager
async def stuck(url: str, tokens: Sequence[str]) -> AsyncIterator[None]:
    """Have receivers that subscribe and read nothing of what comes."""
    async with AsyncExitStack() as stack:
        for token in tokens:
            await stack.enter_async_context(stopped(url, token, STREAM))
        yield
