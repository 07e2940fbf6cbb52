"""Plays a score on a crew, and strikes as the plan of faults says.

A cut forwarder, or one whose mat is dead, is not merely disconnected: it does not come back before the fault is over.
What it has journaled stays. What a dead mat would have said nobody has said: it is counted, and not missed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from deploy.simulation.demo.crew import Crew
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.rehearsal.crew import forwarders_of
from deploy.simulation.rehearsal.faults import Fault
from deploy.simulation.rehearsal.score import Said, Score, clock_at, retimed

__all__ = ["Playing"]

# Of each reader, when everything is sent again.
SENT_AGAIN = 200


class Playing:
    """A score on its way. unsaid: lines of mats that were dead. struck: faults that have begun, with when, by
    time.time().
    """

    def __init__(self, score: Score, crew: Crew) -> None:
        self._score = score
        self._forwarders = crew.forwarders
        names = forwarders_of(score.mats)
        self._of_mat = [names.index(mat.forwarder) for mat in score.mats]
        self._off_s = [0.0] * len(score.mats)
        self._dead: set[int] = set()
        self._links: dict[int, asyncio.Task[None]] = {}
        self.unsaid = 0
        self.struck: list[tuple[Fault, float]] = []

    async def play(self, faults: Sequence[Fault], told: Callable[[str], None]) -> None:
        """Say all lines in their time, and strike; returns when all is said and nothing is broken any more."""
        for number in range(len(self._forwarders)):
            self._connect(number)
        began, clock = time.monotonic(), datetime.now()  # noqa: DTZ005 - readers keep the local wall clock
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                tasks.create_task(self._strike(fault, began, told), name=fault.kind)
            for said in self._score.said:
                await asyncio.sleep(max(0.0, began + said.at_s - time.monotonic()))
                self._say(said, clock)

    def _say(self, said: Said, began: datetime) -> None:
        if self._of_mat[said.mat] in self._dead:
            self.unsaid += 1
            return
        line, at = said.line, None
        if said.clock_s is not None:
            at = clock_at(began, said.clock_s, self._off_s[said.mat])
            line = retimed(said.line, at)
        self._forwarders[self._of_mat[said.mat]].record(
            self._score.mats[said.mat].reader_ip,
            line,
            reader_timestamp="" if at is None else at.isoformat(timespec="milliseconds"),
            read_type="fsls" if line.endswith(("FS", "LS")) else "raw",
        )

    async def _strike(self, fault: Fault, began: float, told: Callable[[str], None]) -> None:
        await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
        self.struck.append((fault, time.time()))
        told(f"{fault.kind} for {fault.lasts_s:.0f} s")
        if fault.kind == "clock":
            self._off_s[fault.subject] = fault.off_s
        elif fault.kind == "killed":
            self._dead.add(fault.subject)
        if fault.kind != "clock":
            await self._disconnect(fault.subject)
        if fault.kind == "twice":
            self._forwarders[fault.subject].forget_acks(SENT_AGAIN)
        else:
            await asyncio.sleep(fault.lasts_s)
        self._mend(fault)

    def _mend(self, fault: Fault) -> None:
        if fault.kind == "clock":
            self._off_s[fault.subject] = 0.0
            return
        self._dead.discard(fault.subject)
        self._connect(fault.subject)

    def _connect(self, number: int) -> None:
        forwarder = self._forwarders[number]
        self._links[number] = asyncio.create_task(forwarder.run(), name=forwarder.device_id)

    async def _disconnect(self, number: int) -> None:
        """Have a forwarder vanish, without a word, and not come back."""
        link = self._links.pop(number)
        link.cancel()
        await _gone(self._forwarders[number], link)

    async def close(self) -> None:
        """Have all of them vanish."""
        for number in list(self._links):
            await self._disconnect(number)


async def _gone(forwarder: Forwarder, link: asyncio.Task[None]) -> None:
    await forwarder.drop()
    with suppress(asyncio.CancelledError):
        await link
