"""Delivery to receivers of the second generation beside those of the first, of one fanout, in turns: a long history to
one receiver, and a stream to many, live. Half of what is stored came as text, half as bytes.
"""

import asyncio
from dataclasses import dataclass, field

from tests.bench.crowd import Crowd
from tests.bench.fan_out import RATE, SECONDS, Feeder, Rounds, one_round, settled
from tests.bench.ground import NO_PAUSE, Ground, receivers, running
from tests.bench.replay import replay
from tests.bench.report import Row, Target, cpu_seconds, row, say
from tests.delivery.stored import make_stream, store_many
from tests.services import make_token

__all__ = ["measure"]

REPLAYED, LIVE = ("bench", "10.0.0.2:10000"), ("bench", "10.0.0.1:10000")
EVENTS = 300_000
RECEIVERS = 200
AT_LEAST = Target("at least", 0.8, of="ratio")


@dataclass
class Figures:
    """What was measured of one generation, a value for each round."""

    name: str
    live: Rounds
    speeds: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)  # microseconds of a core for each event


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns."""
    names = ("first generation", "second generation")
    found = [Figures(name, Rounds(f"{name}, live")) for name in names]
    async with ground.site() as site, running("fanout", site, **NO_PAUSE) as fanout:
        stream_id = await make_stream(site.database, *REPLAYED)
        await store_many(site.database, stream_id, EVENTS)
        await site.database.execute(
            "UPDATE events SET framed = true, raw_frame = raw_frame || '\\x0d0a' WHERE stream_id = $1 AND seq % 2 = 0",
            stream_id,
        )
        await site.database.execute("VACUUM (FULL, ANALYZE) events")
        feeder = Feeder(site.database, await make_stream(site.database, *LIVE))
        for number in range(rounds):
            for second, figures in enumerate(found):
                token = await make_token(site.database, "receiver", f"tent-{number}-{second}")
                before = cpu_seconds(fanout.pid)
                speed = await replay(fanout.url, token, REPLAYED, EVENTS, second=bool(second))
                figures.speeds.append(speed)
                figures.costs.append(1e6 * (cpu_seconds(fanout.pid) - before) / EVENTS)
                crowd = Crowd(fanout.url, [LIVE], second=bool(second))
                await crowd.join(await receivers(site, RECEIVERS))
                await settled(crowd)
                await one_round(
                    crowd, fanout.pid, figures.live, asyncio.ensure_future(feeder.run(RATE, SECONDS))
                )
                await settled(crowd)
                if crowd.lost:
                    raise AssertionError(f"{crowd.lost} connections were lost")
                crowd.leave()
            say(f"generations, round {number + 1}: {[round(each.speeds[-1]) for each in found]} events/s")
    return [*_rows(found[0], None), *_rows(found[1], found[0])]


def _rows(figures: Figures, against: Figures | None) -> list[Row]:
    name = figures.name
    return [
        row(
            f"replay of {EVENTS:,} events, {name}",
            figures.speeds,
            "events/s",
            against=against.speeds if against else (),
            target=AT_LEAST if against else None,
        ),
        row(f"replay, {name}: processor", figures.costs, "us/event"),
        row(
            f"{RECEIVERS} receivers at {RATE:.0f} events/s, {name}",
            figures.live.delivered,
            "deliveries/s",
            against=against.live.delivered if against else (),
            target=AT_LEAST if against else None,
        ),
        row(f"the same, {name}: processor", figures.live.cpu, "cores"),
        row(f"the same, {name}: latency, p99", figures.live.p99_ms, "ms"),
    ]
