"""One rehearsal from beginning to end: load what was read, assemble devices of its own, play, wait, report.

It knows the server as devices and operators do, and nothing else of it. Ctrl-C ends it without a report: what it has
brought stays on the server, as that of any rehearsal, until it is asked to be gone.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from rich.console import Console

from deploy.simulation.demo.crew import Crew
from deploy.simulation.demo.progress import Watch
from deploy.simulation.demo.run import keep_receiving, settle
from deploy.simulation.demo.server import Server, ServerError, open_server
from deploy.simulation.demo.verdict import judge
from deploy.simulation.demo.view import follow
from deploy.simulation.devices.receiver import FIRST_GENERATION, Manners
from deploy.simulation.rehearsal.crew import assemble, forwarders_of
from deploy.simulation.rehearsal.faults import Fault, plan
from deploy.simulation.rehearsal.heard import Heard, answered
from deploy.simulation.rehearsal.playing import Playing
from deploy.simulation.rehearsal.report import Latency, Report
from deploy.simulation.rehearsal.score import Score, score
from deploy.simulation.rehearsal.source import mats_of

__all__ = ["RehearsalOptions", "rehearse", "run_rehearsal"]


RECEIVERS_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """What to rehearse, against the server at the base URL `url`; faults: the seed of what breaks, None for nothing.
    settle_s: the wait for the last acks and deliveries, at the most. manners: of both receivers.
    """

    url: str
    source: str
    speed: float = 20.0
    faults: int | None = None
    api_token: str | None = None
    settle_s: float = 60.0
    manners: Manners = FIRST_GENERATION


async def run_rehearsal(options: RehearsalOptions, *, console: Console) -> bool:
    """Hold a rehearsal, show it on `console` and end with its report; True when nothing was lost or doubled."""
    try:
        report = await rehearse(options, console=console)
    except ServerError as error:
        console.print(f"the rehearsal cannot go on: {error}", style="red", markup=False, highlight=False)
        return False
    console.print(report, highlight=False)
    return report.ok


async def rehearse(options: RehearsalOptions, *, console: Console) -> Report:
    """Hold a rehearsal and return its report; ServerError when the server does not answer, or has no such race."""
    async with open_server(options.url, options.api_token) as server:
        try:
            played = score(await mats_of(server, options.source), speed=options.speed)
        except ValueError as error:
            raise ServerError(str(error)) from error
        crew = await assemble(server, options.url, played.mats, options.manners)
        try:
            return await _Rehearsal(options, played, crew, server, console).hold()
        finally:
            crew.close()


class _Rehearsal:
    """One of them, on its way."""

    def __init__(
        self, options: RehearsalOptions, score: Score, crew: Crew, server: Server, console: Console
    ) -> None:
        self._options, self._score, self._crew = options, score, crew
        self._server, self._console = server, console
        self._watch, self._heard = Watch(crew, server), Heard(server, crew)
        self._playing = Playing(score, crew)
        self._forwarders = forwarders_of(score.mats)

    async def hold(self) -> Report:
        """Play all of it, wait until it has come home, and return the report."""
        said = f"{len(self._score.said)} reads in {self._score.seconds:.0f} s"
        run = self._crew.forwarders[0].device_id.rpartition("-")[0]
        self._console.print(f"{run}: {said}", markup=False, highlight=False)
        async with self._background():
            connected = await self._connected()
            if connected:
                await self._play()
        # Outside: what is raised within is one error of a group.
        if not connected:
            raise ServerError("the receivers were not connected in time: ask `rt-server doctor` why")
        return await self._report()

    async def _connected(self) -> bool:
        """Wait for the receivers: what one was not there for it would be sent, and how late is not what is asked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RECEIVERS_WITHIN_S):
                for receiver in self._crew.receivers:
                    await receiver.wait_connected()
                return True
        return False

    async def _play(self) -> None:
        self._watch.phase = "the rehearsal is on"
        try:
            await self._playing.play(self._faults(), self._say)
            self._watch.phase = "waiting for the last reads"
            await settle(self._watch, self._options.settle_s)
        finally:
            await self._playing.close()

    def _say(self, words: str) -> None:
        self._console.print(words, markup=False, highlight=False)

    def _faults(self) -> Sequence[Fault]:
        if self._options.faults is None:
            return []
        counts = {"forwarders": len(self._forwarders), "mats": len(self._score.mats)}
        return plan(self._options.faults, **counts, seconds=self._score.seconds)

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            background = [
                *(
                    tasks.create_task(keep_receiving(each), name=each.receiver_id)
                    for each in self._crew.receivers
                ),
                tasks.create_task(self._watch.run(), name="watch"),
                tasks.create_task(self._heard.run(), name="alerts"),
                tasks.create_task(follow(self._watch.progress, self._console), name="view"),
            ]
            yield
            for task in background:
                task.cancel()

    async def _report(self) -> Report:
        struck = self._playing.struck
        subjects = [self._struck_device(fault) for fault, _ in struck]
        faults, others = answered(struck, subjects, [*self._heard.alerts.values()])
        return Report(
            await judge(self._crew, self._server, self._watch.progress()),
            faults,
            others,
            [Latency(each.receiver_id, [*each.latencies_s]) for each in self._crew.receivers],
            self._playing.unsaid,
        )

    def _struck_device(self, fault: Fault) -> str:
        number = fault.subject
        if fault.kind == "clock":  # of a mat
            number = self._forwarders.index(self._score.mats[number].forwarder)
        return self._crew.forwarders[number].device_id
