"""What the pace that receivers in the field bear costs those that bear more: each figure with it and without, in turns.

A catch-up is what the pace is for: it takes as long as the pace says. Live, a message is followed by a pause in
proportion to its events, so a receiver of many streams gets fewer and fuller ones.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.bench.crowd import Crowd
from tests.bench.fan_out import RATE, SECONDS, Feeder, Rounds, one_round
from tests.bench.ground import NO_PAUSE, Ground, Pace, Site, receivers, running
from tests.bench.latency import at_load
from tests.bench.replay import replay
from tests.bench.report import Row, percentile, row, say
from tests.delivery.stored import make_stream, store_many
from tests.services import Process, make_token
from tests.waiting import wait_until

__all__ = ["measure"]

PACES: dict[str, Pace] = {"without the pause": NO_PAUSE, "at the pace of the field": {}}
REPLAYED = ("bench", "10.0.0.2:10000")
EVENTS = 50_000
RECEIVERS = 200
LIVE = ("bench", "10.0.0.1:10000")
LOADS = (1_000, 5_000)


@dataclass
class Place:
    """A fanout at one pace, over a database of its own, with a crowd of receivers."""

    site: Site
    fanout: Process
    feeder: Feeder
    crowd: Crowd
    rounds: Rounds
    speeds: list[float]
    delays: dict[int, list[tuple[float, float]]]  # p50 and p99 in ms, by load


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns between the two."""
    async with place(ground, "without the pause") as fast, place(ground, "at the pace of the field") as paced:
        for number in range(rounds):
            for each, pace in zip((fast, paced), PACES.values(), strict=True):
                await one_turn(ground, each, pace, number)
            say(
                f"pace, round {number + 1}: replay {fast.speeds[-1]:,.0f} and {paced.speeds[-1]:,.0f} events/s"
            )
    return [*_rows(fast, None), *_rows(paced, fast)]


@asynccontextmanager
async def place(ground: Ground, name: str) -> AsyncIterator[Place]:
    """Store what is to be replayed, and let a crowd join."""
    async with ground.site() as site, running("fanout", site, **PACES[name]) as fanout:
        await store_many(site.database, await make_stream(site.database, *REPLAYED), EVENTS)
        await site.database.execute("VACUUM ANALYZE events")
        feeder = Feeder(site.database, await make_stream(site.database, *LIVE))
        crowd = Crowd(fanout.url, [LIVE])
        await crowd.join(await receivers(site, RECEIVERS))
        await feeder.run(RATE, 1.0)
        made = Place(site, fanout, feeder, crowd, Rounds(name), [], {load: [] for load in LOADS})
        yield made
        crowd.leave()


async def one_turn(ground: Ground, at: Place, pace: Pace, number: int) -> None:
    """Replay once, feed the crowd once, and measure both loads once."""
    token = await make_token(at.site.database, "receiver", f"tent-{number}")
    at.speeds.append(await replay(at.fanout.url, token, REPLAYED, EVENTS))
    await one_round(at.crowd, at.fanout.pid, at.rounds, asyncio.ensure_future(at.feeder.run(RATE, SECONDS)))
    await wait_until(
        lambda: at.crowd.lost or all(each.events >= at.feeder.seq for each in at.crowd.members),
        what="every event to reach every receiver",
    )
    if at.crowd.lost or any(each.events > at.feeder.seq for each in at.crowd.members):
        raise AssertionError(f"{at.crowd.lost} were lost, or events came twice")
    for load in LOADS:
        delivered = (await at_load(ground, load, pace)).delivered
        at.delays[load].append((1000 * percentile(delivered, 0.5), 1000 * percentile(delivered, 0.99)))


def _rows(at: Place, against: Place | None) -> list[Row]:
    name, fan_out = at.rounds.name, f"{RECEIVERS} receivers at {RATE:.0f} events/s"
    rows = [
        row(
            f"replay of {EVENTS:,} events, {name}",
            at.speeds,
            "events/s",
            against=against.speeds if against else (),
        ),
        row(
            f"{fan_out}, {name}: processor",
            at.rounds.cpu,
            "cores",
            against=against.rounds.cpu if against else (),
        ),
        row(f"{fan_out}, {name}: latency, p99", at.rounds.p99_ms, "ms"),
    ]
    for load, delays in at.delays.items():
        for place, share in enumerate(("p50", "p99")):
            figure = f"send to receiver at {load:,} events/s, {name}: {share}"
            rows.append(row(figure, [each[place] for each in delays], "ms"))
    return rows
