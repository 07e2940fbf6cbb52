"""The measurements that stand behind what is said about speed: `make bench`, or one of them by its name.

Everything runs on this machine, over real sockets of the loopback, with a Postgres of its own that flushes every
commit. Each figure is the median of the rounds; what is compared is taken in turns. The rows go to results.json.
"""

import gc
from collections.abc import Awaitable, Callable, Sequence

import click
import uvloop

from tests.bench import (
    announcer,
    certificate,
    cores,
    crossings,
    export,
    fan_out,
    field,
    generations,
    growth,
    idle,
    inbox,
    ingest,
    latency,
    pace,
    page,
    passings,
    processor,
    races,
    replay,
    search,
    sentinels,
    slow,
)
from tests.bench.ground import RESULTS, Ground, ground
from tests.bench.report import Row, say, show, write_results

FIGURES: dict[str, Callable[[Ground, int], Awaitable[list[Row]]]] = {
    "machine": cores.measure,
    "processor": processor.measure,
    "ingest": ingest.measure,
    "latency": latency.measure,
    "catch-up": latency.measure_catch_up,
    "fan-out": fan_out.measure,
    "slow": slow.measure,
    "replay": replay.measure,
    "generations": generations.measure,
    "field": field.measure,
    "pace": pace.measure,
    "export": export.measure,
    "inbox": inbox.measure,
    "growth": growth.measure,
    "page": page.measure,
    "passings": passings.measure,
    "races": races.measure,
    "crossings": crossings.measure,
    "search": search.measure,
    "announcer": announcer.measure,
    "certificate": certificate.measure,
    "idle": idle.measure,
    "sentinels": sentinels.measure,
}


async def measure(names: Sequence[str], rounds: int, server: str | None, *, plots: bool) -> None:
    """Measure one figure after the other; what stands so far is written after each."""
    gc.freeze()  # or our own full collections would be part of what is measured
    rows: list[Row] = []
    async with ground(server) as at:
        for name in names:
            rows += await FIGURES[name](at, rounds)
            write_results(rows, RESULTS / "results.json")
        if plots:
            await draw(at)
    show(rows)
    say(f"written to {RESULTS}/")


async def draw(at: Ground) -> None:
    """Measure and draw the curves."""
    from tests.bench import plots  # needs the extra `bench`

    plots.plot_throughput(await ingest.by_batch_size(at), RESULTS / "throughput.svg")
    plots.plot_latency(await latency.by_load(at), RESULTS / "latency.svg")


@click.command(help=__doc__)
@click.argument("figures", nargs=-1, type=click.Choice(list(FIGURES)))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--server", help="URL of a database of a server to measure on, instead of one of our own")
@click.option("--plots/--no-plots", default=False, show_default=True, help="measure and draw the curves, too")
def main(figures: tuple[str, ...], rounds: int, server: str | None, *, plots: bool) -> None:
    """Run."""
    RESULTS.mkdir(exist_ok=True)
    uvloop.run(measure(figures or tuple(FIGURES), rounds, server, plots=plots))


if __name__ == "__main__":
    main()
