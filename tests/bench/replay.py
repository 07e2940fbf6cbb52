"""The replay of a long history to one receiver that acks, and what it costs the fanout in memory."""

import time

from tests.bench.crowd import Crowd
from tests.bench.ground import NO_PAUSE, Ground, running
from tests.bench.report import Row, Target, resident_bytes, row, say
from tests.delivery.stored import make_stream, store_many
from tests.services import make_token
from tests.waiting import wait_until

__all__ = ["measure", "replay"]

STREAM = ("bench", "10.0.0.1:10000")
EVENTS = 1_000_000
MIB = 2**20


async def replay(
    url: str, token: str, stream: tuple[str, str], events: int, *, second: bool = False
) -> float:
    """Replay a stream of so many events once, to a receiver of either generation, and return events per second."""
    crowd = Crowd(url, [stream], second=second)
    began = time.perf_counter()
    await crowd.join([token])
    await wait_until(lambda: crowd.events >= events, deadline_s=600, what="the whole replay")
    passed = time.perf_counter() - began
    if (crowd.events, crowd.members[0].last_seq) != (events, events):
        raise AssertionError(f"{crowd.events} events, the last {crowd.members[0].last_seq}")
    crowd.leave()
    return events / passed


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Store, then replay again and again, each time to a receiver that was never here before."""
    async with ground.site() as site, running("fanout", site, **NO_PAUSE) as fanout:
        await store_many(site.database, await make_stream(site.database, *STREAM), EVENTS)
        await site.database.execute("VACUUM ANALYZE events")
        before = resident_bytes(fanout.pid)
        speeds = []
        for number in range(rounds):
            token = await make_token(site.database, "receiver", f"tent-{number}")
            speeds.append(await replay(fanout.url, token, STREAM, EVENTS))
            say(f"replay, round {number + 1}: {speeds[-1]:,.0f} events/s")
        grown = (resident_bytes(fanout.pid, "VmHWM") - before) / MIB
    return [
        row(f"replay of {EVENTS:,} events", speeds, "events/s", target=Target("at least", 50_000)),
        row("replay: memory of the fanout grew by", [grown], "MiB", target=Target("at most", 50)),
    ]
