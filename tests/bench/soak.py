"""Hours in small: a steady load while receivers come and go. Memory, inbox and latency must stay flat.

    python -m tests.bench.soak --minutes 30 --rate 2000

Draws `.bench/soak.svg` and writes the samples beside it.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from random import Random

import click
import orjson
import uvloop

from tests.bench.fleet import Ticker, Witness
from tests.bench.ground import NO_PAUSE, RESULTS, Ground, Site, ground
from tests.bench.ingest import join_witness
from tests.bench.latency import join_tickers, tick
from tests.bench.report import percentile, resident_bytes, say
from tests.bench.sockets import connect
from tests.services import Services, make_token, services

__all__ = ["Sample", "soak"]

READERS = 50
WANDERERS = 10
STAY_S = (1.0, 20.0)
SAMPLE_S = 10.0
MIB = 2**20
_INBOX = "SELECT pg_total_relation_size('inbox') + pg_total_relation_size('outcomes')"


@dataclass(frozen=True)
class Sample:
    """One look: memory by role and inbox in MiB, percentiles of what came since the last one in ms."""

    at_s: float
    memory: dict[str, float]
    inbox: float
    acked_p50: float
    acked_p99: float
    delivered_p50: float
    delivered_p99: float
    events_stored: int


async def soak(at: Ground, *, seconds: float, rate: float) -> list[Sample]:
    """Load one of each role for so long, and look every few seconds."""
    async with at.site() as site, services(site.url, LOG_LEVEL="warn", **NO_PAUSE) as running:
        names = [f"f{n}" for n in range(READERS)]
        witness = await join_witness(site, running.fanouts[0].url, names, timed=True)
        tickers = await join_tickers(site, running.gateways[0].url, names)
        wandering = [
            asyncio.ensure_future(wander(site, running, names, Random(number))) for number in range(WANDERERS)
        ]
        samples: list[Sample] = []
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            await tick(tickers, rate, SAMPLE_S)
            samples.append(await look(passed + SAMPLE_S, site, running, tickers, witness))
            latest = samples[-1]
            say(
                f"{latest.at_s / 60:.1f} min: {latest.events_stored:,} stored, inbox {latest.inbox:.1f} MiB, "
                f"acked p99 {latest.acked_p99:.0f} ms"
            )
        for task in wandering:
            task.cancel()
        await asyncio.gather(*wandering, return_exceptions=True)
        for connection in (witness, *tickers):
            connection.close()
    return samples


async def wander(site: Site, running: Services, names: Sequence[str], random: Random) -> None:
    """A receiver that comes, stays for a while, vanishes and comes back, until cancelled."""
    token = await make_token(site.database, "receiver", f"tent-{random.random()}")
    while True:
        receiver = await connect(Witness(token, names), running.fanouts[0].url)
        await asyncio.sleep(random.uniform(*STAY_S))
        receiver.close()


async def look(
    at_s: float, site: Site, running: Services, tickers: Sequence[Ticker], witness: Witness
) -> Sample:
    """Take a sample, and forget what it is made of."""
    acked = [1000 * delay for each in tickers for delay in each.acks_s]
    delivered = [1000 * delay for delay in witness.delays_s]
    for each in tickers:
        each.acks_s.clear()
    witness.delays_s.clear()
    if witness.wrong:
        raise AssertionError(f"{witness.wrong} events were missing, doubled or out of order")
    return Sample(
        at_s=at_s,
        memory={each.role: resident_bytes(each.pid) / MIB for each in running.all},
        inbox=await site.database.fetchval(_INBOX) / MIB,
        acked_p50=percentile(acked, 0.5),
        acked_p99=percentile(acked, 0.99),
        delivered_p50=percentile(delivered, 0.5),
        delivered_p99=percentile(delivered, 0.99),
        events_stored=witness.events,
    )


async def run(minutes: float, rate: float) -> None:
    """Soak, draw, and keep the samples."""
    from tests.bench.plots import plot_soak  # needs the extra `bench`

    async with ground() as at:
        samples = await soak(at, seconds=60 * minutes, rate=rate)
    (RESULTS / "soak.json").write_bytes(orjson.dumps([asdict(each) for each in samples]))
    plot_soak(samples, rate, RESULTS / "soak.svg")


@click.command(help=__doc__)
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--rate", default=2_000.0, show_default=True, help="events a second")
def main(minutes: float, rate: float) -> None:
    """Run."""
    RESULTS.mkdir(exist_ok=True)
    with suppress(KeyboardInterrupt):
        uvloop.run(run(minutes, rate))


if __name__ == "__main__":
    main()
