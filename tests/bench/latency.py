"""Latency under an open load: from when an event was due at its device to its ack, and to its receiver.

Fifty readers, a forwarder each; events become due at even times whatever the server does. `catch_up` measures the same
of twenty others while one forwarder drains a backlog.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.fleet import Ticker, Witness
from tests.bench.ground import NO_PAUSE, Ground, Pace, Site
from tests.bench.ingest import join_drainers, join_witness
from tests.bench.report import Row, Target, percentile, row, say
from tests.bench.sockets import connect
from tests.services import make_token, services
from tests.waiting import wait_until

__all__ = ["Delays", "at_load", "by_load", "measure", "measure_catch_up"]

READERS = 50
LOADS = (1_000, 5_000)
CURVE = (250, 500, 1_000, 2_000, 3_500, 5_000)
CURVE_ROUNDS = 3
SECONDS = 8.0
WARM_UP_S = 1.0
TICK_S = 0.001  # finer would load the machine more than what it measures
OTHERS, OTHERS_RATE = 20, 200.0
BACKLOG, BACKLOG_BATCH = 60_000, 50


@dataclass(frozen=True)
class Delays:
    """Seconds from due to acked and to delivered, an entry for each event."""

    acked: Sequence[float]
    delivered: Sequence[float]


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns between the loads."""
    found: dict[int, list[Delays]] = {load: [] for load in LOADS}
    for number in range(rounds):
        for load in LOADS:
            delays = await at_load(ground, load)
            found[load].append(delays)
            say(f"latency at {load:,}/s, round {number + 1}: {_spoken(delays)}")
    return [each for load in LOADS for each in _rows(load, found[load])]


def _spoken(delays: Delays) -> str:
    return ", ".join(
        f"{name} p50 {1000 * percentile(values, 0.5):.1f} ms, p99 {1000 * percentile(values, 0.99):.1f} ms"
        for name, values in (("acked", delays.acked), ("delivered", delays.delivered))
    )


def _rows(load: int, found: Sequence[Delays]) -> list[Row]:
    rows = []
    for way, name in (("acked", "send to ack"), ("delivered", "send to receiver")):
        for share, limit_ms in ((0.5, 6.0), (0.99, 30.0)):
            values = [1000 * percentile(getattr(each, way), share) for each in found]
            figure = f"{name} at {load:,} events/s, p{100 * share:.0f}"
            rows.append(row(figure, values, "ms", target=Target("at most", limit_ms)))
    return rows


async def by_load(ground: Ground) -> dict[int, Delays]:
    """Return the delays by events a second: of the middle one of some runs, by its p99."""
    found = {}
    for load in CURVE:
        runs = [await at_load(ground, load) for _ in range(CURVE_ROUNDS)]
        found[load] = sorted(runs, key=lambda run: percentile(run.acked, 0.99))[CURVE_ROUNDS // 2]
        say(f"{load:,} events/s: {_spoken(found[load])}")
    return found


async def at_load(ground: Ground, rate: float, pace: Pace = NO_PAUSE) -> Delays:
    """Measure one load, after a short warm-up, on fresh processes over a fresh database."""
    async with ground.site() as site, services(site.url, LOG_LEVEL="warn", **pace) as running:
        names = [f"f{n}" for n in range(READERS)]
        witness = await join_witness(site, running.fanouts[0].url, names, timed=True)
        tickers = await join_tickers(site, running.gateways[0].url, names)
        await tick(tickers, rate, WARM_UP_S)
        for each in tickers:
            each.acks_s.clear()
        witness.delays_s.clear()
        await tick(tickers, rate, SECONDS)
        await settled(tickers, witness)
        for connection in (witness, *tickers):
            connection.close()
    return Delays([delay for each in tickers for delay in each.acks_s], witness.delays_s)


async def join_tickers(site: Site, url: str, names: Sequence[str]) -> list[Ticker]:
    """Connect a forwarder for each name."""
    tokens = [await make_token(site.database, "forwarder", name) for name in names]
    tickers = [await connect(Ticker(token), url) for token in tokens]
    await asyncio.gather(*(each.greeted.wait() for each in tickers))
    return tickers


async def tick(tickers: Sequence[Ticker], rate: float, seconds: float) -> None:
    """Let `rate` events a second become due, at one forwarder after the other."""
    began, count = time.perf_counter(), 0
    while count < rate * seconds:
        while (due_at := began + count / rate) <= time.perf_counter():
            tickers[count % len(tickers)].due(due_at)
            count += 1
        await asyncio.sleep(max(TICK_S, due_at - time.perf_counter()))


async def settled(tickers: Sequence[Ticker], witness: Witness, others: int = 0) -> None:
    """Wait until all is acked and delivered, in order; `others` are events that other forwarders sent."""
    await wait_until(lambda: all(each.idle for each in tickers), deadline_s=60, what="all acks")
    total = sum(each.events for each in tickers) + others
    await wait_until(lambda: witness.events >= total, deadline_s=60, what="everything to be delivered")
    if witness.wrong or witness.events != total:
        raise AssertionError(f"{witness.events} of {total} events, {witness.wrong} of them out of place")


async def measure_catch_up(ground: Ground, rounds: int) -> list[Row]:
    """Let one forwarder come back with a backlog while twenty others are live."""
    took, delays = [], []
    for number in range(rounds):
        seconds, live = await catch_up(ground)
        took.append(seconds)
        delays.append(1000 * percentile(live, 0.99))
        say(f"catch-up, round {number + 1}: {seconds:.1f} s; live p99 {delays[-1]:.0f} ms")
    return [
        row(f"catch-up of {BACKLOG:,} reads", took, "s", target=Target("at most", 10.0)),
        row("live send to receiver meanwhile, p99", delays, "ms", target=Target("at most", 1_000.0)),
    ]


async def catch_up(ground: Ground) -> tuple[float, Sequence[float]]:
    """Return how long the backlog took, and how long the live events of the others took meanwhile."""
    async with ground.site() as site, services(site.url, LOG_LEVEL="warn", **NO_PAUSE) as running:
        url = running.gateways[0].url
        names = [f"f{n}" for n in range(OTHERS)]
        witness = await join_witness(site, running.fanouts[0].url, [*names, "late"], timed=True)
        tickers = await join_tickers(site, url, names)
        [late] = await join_drainers(site, [url], ["late"], events=BACKLOG, size=BACKLOG_BATCH)
        await tick(tickers, OTHERS_RATE, WARM_UP_S)
        witness.delays_s.clear()
        began = time.perf_counter()
        late.start()
        while not late.drained.is_set() and time.perf_counter() - began < 120:
            await tick(tickers, OTHERS_RATE, 0.5)
        passed = sum(late.acks_s)
        await settled(tickers, witness, late.events)
        for connection in (witness, late, *tickers):
            connection.close()
    return passed, witness.delays_s
