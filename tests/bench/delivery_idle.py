"""What a fanout costs while nothing happens and many receivers are connected.

python -m tests.bench.delivery_idle --server postgresql://postgres@127.0.0.1:5432/postgres
"""

import asyncio
import time

import click
import uvloop

from tests.bench.crowd import Crowd
from tests.bench.report import cpu_seconds, resident_bytes, say, summary
from tests.bench.scratch import fanout_over_scratch
from tests.delivery.stored import make_stream
from tests.rooms import make_token


async def measure(server: str, *, receivers: int, streams: int, seconds: float, rounds: int) -> None:
    """Connect all, then look at the processor's clock."""
    async with fanout_over_scratch(server, "delivery_idle") as (fanout, database):
        named = [("bench", f"10.0.0.{number}:10000") for number in range(streams)]
        for each in named:
            await make_stream(database, *each)
        empty = resident_bytes(fanout.pid)
        crowd = Crowd(fanout.url, named)
        await crowd.join([await make_token(database, "receiver", "bench")] * receivers)
        await asyncio.sleep(5)  # what their arrival leaves to do
        shares = []
        for number in range(rounds):
            began, cpu = time.monotonic(), cpu_seconds(fanout.pid)
            await asyncio.sleep(seconds)
            shares.append(100 * (cpu_seconds(fanout.pid) - cpu) / (time.monotonic() - began))
            say(f"round {number + 1}: {shares[-1]:.2f} % of a core")
        say(summary(f"{receivers} idle receivers", shares, "% of a core"))
        say(
            f"memory a receiver: {(resident_bytes(fanout.pid) - empty) / receivers / 1024:.1f} KiB; lost {crowd.lost}"
        )
        crowd.leave()


@click.command()
@click.option("--server", default="postgresql://postgres@127.0.0.1:54321/postgres", show_default=True)
@click.option("--receivers", default=1_000, show_default=True)
@click.option("--streams", default=10, show_default=True, help="that each of them is subscribed to")
@click.option("--seconds", default=20.0, show_default=True, help="for each round: pings come every 20 s")
@click.option("--rounds", default=5, show_default=True)
def main(server: str, receivers: int, streams: int, seconds: float, rounds: int) -> None:
    """Measure."""
    uvloop.run(measure(server, receivers=receivers, streams=streams, seconds=seconds, rounds=rounds))


if __name__ == "__main__":
    main()
