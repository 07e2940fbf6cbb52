"""The replay of a long history to one receiver that acks, and what it costs the fanout in memory.

python -m tests.bench.delivery_replay --server postgresql://postgres@127.0.0.1:5432/postgres
"""

import time

import click
import uvloop

from tests.bench.crowd import Crowd
from tests.bench.report import cpu_seconds, resident_bytes, say, summary
from tests.bench.scratch import fanout_over_scratch
from tests.delivery.stored import make_stream, store_many
from tests.rooms import Process, make_token
from tests.waiting import wait_until

STREAM = ("bench", "10.0.0.1:10000")


async def replay(fanout: Process, token: str, events: int) -> tuple[float, float]:
    """Replay everything once, and return events per second and the processor time that the fanout used."""
    crowd = Crowd(fanout.url, [STREAM])
    began, cpu = time.monotonic(), cpu_seconds(fanout.pid)
    await crowd.join([token])
    await wait_until(lambda: crowd.events >= events, deadline_s=600, what="the whole replay")
    passed = time.monotonic() - began
    if (crowd.events, crowd.members[0].last_seq) != (events, events):
        raise AssertionError(f"{crowd.events} events, the last {crowd.members[0].last_seq}")
    crowd.leave()
    return events / passed, cpu_seconds(fanout.pid) - cpu


async def measure(server: str, *, events: int, rounds: int) -> None:
    """Store, then replay again and again, each time to a receiver that was never here before."""
    async with fanout_over_scratch(server, "delivery_replay") as (fanout, database):
        stream_id = await make_stream(database, *STREAM)
        await store_many(database, stream_id, events)
        await database.execute("VACUUM ANALYZE events")
        before = resident_bytes(fanout.pid)
        speeds, cpus = [], []
        for number in range(rounds):
            speed, cpu = await replay(
                fanout, await make_token(database, "receiver", f"tent-{number}"), events
            )
            speeds.append(speed)
            cpus.append(cpu)
            grown = (resident_bytes(fanout.pid, "VmHWM") - before) / 2**20
            say(
                f"round {number + 1}: {speed:,.0f} events/s, {cpu:.1f} s of processor, grown by {grown:.1f} MiB at most"
            )
        say(summary("replay", speeds, "events/s"))
        say(summary("processor of the fanout", cpus, "s"))
        say(f"memory of the fanout grew by {grown:.1f} MiB at the most")


@click.command()
@click.option("--server", default="postgresql://postgres@127.0.0.1:54321/postgres", show_default=True)
@click.option("--events", default=1_000_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(server: str, events: int, rounds: int) -> None:
    """Measure."""
    uvloop.run(measure(server, events=events, rounds=rounds))


if __name__ == "__main__":
    main()
