"""One demo from beginning to end: assemble the crew, hold the race, wait until it has settled, judge.

A cancellation ends the race and not the demo: what was recorded is still brought home and judged. A second
one ends it at once.
"""

import asyncio
import signal
import time
from contextlib import suppress
from datetime import datetime
from itertools import count

from rich.console import Console

from deploy.simulation.demo.crew import Crew, assemble
from deploy.simulation.demo.options import DemoOptions
from deploy.simulation.demo.progress import Watch
from deploy.simulation.demo.race import Plan, RaceRead, run_race
from deploy.simulation.demo.server import Server, ServerError, open_server
from deploy.simulation.demo.verdict import Verdict, judge
from deploy.simulation.demo.view import follow
from deploy.simulation.devices.connection import UNREACHABLE
from deploy.simulation.devices.newer_receiver import NewerReceiver
from deploy.simulation.devices.receiver import Receiver

__all__ = ["DemoOptions", "hold_demo", "keep_receiving", "run_demo", "run_demo_alone", "settle"]

# The length of a race where the demo has no end.
_RACE_S = 60.0
_RECONNECT_S = 1.0
_LOOK_EVERY_S = 0.1


def run_demo_alone(options: DemoOptions, *, console: Console) -> bool:
    """Hold a demo as a program of its own: SIGTERM ends its race as Ctrl-C does, with the verdict."""

    async def until_told() -> bool:
        this = asyncio.current_task()
        if this is None:
            raise RuntimeError("a demo runs in a task")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        return await run_demo(options, console=console)

    try:
        return asyncio.run(until_told())
    except asyncio.CancelledError:  # before the race, or a second time
        console.print("the demo was ended without a verdict", style="red", highlight=False)
        return False


async def run_demo(options: DemoOptions, *, console: Console) -> bool:
    """Hold a demo, show it on `console` and end with its verdict; True when every promise was kept."""
    try:
        verdict = await hold_demo(options, console=console)
    except ServerError as error:
        console.print(f"the demo cannot go on: {error}", style="red", markup=False, highlight=False)
        return False
    console.print(verdict, highlight=False)
    return verdict.ok


async def hold_demo(options: DemoOptions, *, console: Console) -> Verdict:
    """Hold a demo, show it on `console` and return the verdict; ServerError when the server does not answer."""
    async with open_server(options.url, options.api_token) as server:
        crew = await assemble(server, options)
        try:
            return await _hold(options, crew, server, console)
        finally:
            crew.close()


async def _hold(options: DemoOptions, crew: Crew, server: Server, console: Console) -> Verdict:
    watch = Watch(crew, server)
    async with asyncio.TaskGroup() as tasks:
        background = [
            *(tasks.create_task(forwarder.run(), name=forwarder.device_id) for forwarder in crew.forwarders),
            *(tasks.create_task(keep_receiving(each), name=each.receiver_id) for each in crew.receivers),
            tasks.create_task(watch.run(), name="watch"),
            tasks.create_task(follow(watch.progress, console), name="view"),
        ]
        watch.phase = "the race is on"
        try:
            await _race(options, crew)
        except asyncio.CancelledError:
            _take_as_the_end(background)
        watch.phase = "waiting for the last reads"
        await settle(watch, options.settle_s)
        for task in background:
            task.cancel()
    return await judge(crew, server, watch.progress())


def _take_as_the_end(background: list[asyncio.Task[None]]) -> None:
    """Go on after a cancellation, unless it came because a part of the demo broke."""
    this = asyncio.current_task()
    if this is None or any(task.done() for task in background):
        raise asyncio.CancelledError
    this.uncancel()


async def keep_receiving(receiver: Receiver) -> None:
    """Have a receiver be connected, whatever its generation, until cancelled."""
    if isinstance(receiver, NewerReceiver):
        await receiver.stay()
        return
    # One of the first generation does not reconnect by itself: this is the operator who tells it to.
    while True:
        with suppress(*UNREACHABLE):
            await receiver.run()
        await asyncio.sleep(_RECONNECT_S)


async def _race(options: DemoOptions, crew: Crew) -> None:
    """Race once, or for ever where no end was given."""
    seconds = options.seconds or _RACE_S
    for race in count():
        plan = Plan(
            seed=f"{options.seed}/{race}",
            forwarders=options.forwarders,
            readers=options.readers,
            reads=round(options.rate * seconds),
            seconds=seconds,
            started_at=datetime.now(),  # noqa: DTZ005 - readers keep the local wall clock
        )
        reads = await asyncio.to_thread(run_race, plan)
        # Making them took a moment, which the readers' clocks must not be behind.
        late_s = (datetime.now() - plan.started_at).total_seconds()  # noqa: DTZ005
        await _pace(crew, reads, started_at=time.monotonic() - late_s)
        if options.seconds is not None:
            return


async def _pace(crew: Crew, reads: list[RaceRead], *, started_at: float) -> None:
    """Let the forwarders record the reads as time goes by since `started_at` (time.monotonic)."""
    for at_s, place, reader, line in reads:
        await asyncio.sleep(max(0.0, started_at + at_s - time.monotonic()))
        forwarder = crew.forwarders[place]
        forwarder.record(
            forwarder.readers[reader],
            line.raw_read_line,
            reader_timestamp=line.reader_timestamp,
            read_type=line.read_type,
        )


async def settle(watch: Watch, settle_s: float) -> None:
    """Wait until all is acked and delivered, for `settle_s` at most."""
    ends_at = time.monotonic() + settle_s
    while time.monotonic() < ends_at:
        progress = watch.progress()
        if progress.total("unacked") <= 0 and progress.total("behind") <= 0:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
