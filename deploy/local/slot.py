"""A place in the stack where one program is kept running.

A slot starts its program, learns when it is ready, and when it ends starts it again: after a pause that
doubles from 0.1 s to 5 s and is forgotten once a process lived 10 s, with a line said each time. A program
that ends five times and never was ready, or that may not be started again, is given up: whoever waits for it
is told why. Knows a program only by what `Program` says.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from signal import Signals
from typing import Protocol

from deploy.local import StackError
from deploy.local.child import Child, until_answering

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_SETTLED_S = 10.0
_TRIES = 5
_LINES_SHOWN = 8


class Program(Protocol):
    """What a slot keeps running."""

    @property
    def address(self) -> str:
        """Where it listens, host:port; known from the launch on."""

    @property
    def stop_signals(self) -> Sequence[Signals]:
        """What ends it: first in order, second at once."""

    async def launch(self) -> Child:
        """Start its process; StackError or OSError when that cannot be."""

    async def answers(self) -> bool:
        """Whether it does its work now."""


@dataclass(frozen=True)
class Member:
    """A slot as it is now: `pid` is None while no process runs, `ready` once this process has answered."""

    role: str
    index: int
    address: str
    pid: int | None
    restarts: int
    ready: bool


class Slot:
    """Keeps `program` running from `start` to `stop`; both may be called again and again."""

    def __init__(
        self,
        name: str,
        program: Program,
        *,
        role: str,
        index: int = 0,
        restart: bool,
        say: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.role = role
        self._index = index
        self._program = program
        self._restart = restart
        self._say = say
        self._changed = changed
        self._keeper: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._ready = asyncio.Event()
        self._was_ready = False
        self._restarts = 0

    @property
    def member(self) -> Member:
        """The slot as it is now."""
        pid = self._child.pid if self._child and self._child.running else None
        ready = self._ready.is_set()
        return Member(self.role, self._index, self._program.address, pid, self._restarts, ready)

    def start(self) -> None:
        """Begin to keep the program running; nothing when that is so."""
        if self._keeper is None or self._keeper.done():
            self._was_ready = False
            self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name} running")

    async def until_ready(self) -> None:
        """Return when the program is ready; StackError when it was given up before."""
        ready = asyncio.create_task(self._ready.wait(), name=f"{self.name} ready")
        kept = asyncio.create_task(self.until_given_up(), name=f"{self.name} given up")
        try:
            await asyncio.wait({ready, kept}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                kept.result()
                raise StackError(f"{self.name} ended")
        finally:
            ready.cancel()
            kept.cancel()

    async def until_given_up(self) -> None:
        """Return when the program is no longer kept running; raise why, if it was not by `stop`."""
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
            if not self._keeper.cancelled():
                self._keeper.result()

    def release(self) -> None:
        """Start the program no more when it ends."""
        if self._keeper is not None:
            self._keeper.cancel()

    def kill(self) -> None:
        """End the program at once, for good."""
        self.release()
        if self._child is not None:
            self._child.send(self._program.stop_signals[1])

    async def stop(self, signals: Sequence[Signals] = (), *, within_s: float) -> None:
        """End the program: each signal (its own if none are given) has `within_s`. May be called twice."""
        self.release()
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
        if self._child is not None:
            await self._child.stop(signals or self._program.stop_signals, within_s=within_s)
        self._ready.clear()
        self._changed()

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        pause_s, tries = _FIRST_PAUSE_S, 0
        while True:
            begun_at = clock()
            ending = await self._run()
            tries += 1
            if not self._was_ready and (tries == _TRIES or not self._restart):
                raise StackError(self._obituary(ending))
            if not self._restart:
                return self._say(f"{self.name} ended: {ending}")
            if clock() - begun_at > _SETTLED_S:
                pause_s = _FIRST_PAUSE_S
            self._say(f"{self.name} ended: {ending}; starting it again in {pause_s:.1f} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._restarts += 1

    async def _run(self) -> str:
        """Run the program once; return how it ended."""
        try:
            self._child = child = await self._program.launch()
        except (StackError, OSError) as error:
            if not self._was_ready:
                raise
            return str(error)
        self._changed()
        if await until_answering(child, self._program.answers):
            self._note_ready(child.pid)
        await child.wait()
        self._ready.clear()
        self._changed()
        return child.ending

    def _note_ready(self, pid: int) -> None:
        if self._was_ready:
            self._say(f"{self.name} is back, pid {pid}")
        self._was_ready = True
        self._ready.set()

    def _obituary(self, ending: str) -> str:
        lines = self._child.last_lines(_LINES_SHOWN) if self._child else []
        return "\n  ".join([f"{self.name} does not start: {ending}", *lines[:-1]])
