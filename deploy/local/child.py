"""One child process: started, waited for, stopped, never left behind.

Every child ends with the process that started it, however that one ends: the kernel sends it a signal. It
has a session of its own, so that Ctrl-C reaches only the parent, who stops the children in order. What it
prints goes straight into its log file, without passing through the parent, and that file stays bounded.
Knows no role, no database and no reverse proxy.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals

from deploy.local import StackError

LOG_LIMIT_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 8 * 1024
_LOOK_EVERY_S = 0.05


def setpriv() -> str:
    """Return the path of util-linux's setpriv; StackError where there is none."""
    path = shutil.which("setpriv")
    if path is None:
        raise StackError("the program setpriv (Debian package util-linux) is not installed")
    return path


def ends_with_parent(argv: Sequence[str], signal: Signals) -> list[str]:
    """Return `argv` so that the kernel sends it `signal` when the thread that starts it ends."""
    return [setpriv(), "--pdeathsig", signal.name, "--", *argv]


class Child:
    """A process that was started; made by `start_child`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, log_begin: int) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log
        self._log_begin = log_begin

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.returncode is None

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself and well."""
        return self._process.returncode == 0

    @property
    def end(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    @property
    def ending(self) -> str:
        """How it ended, in words, and its last line where it ended by itself and not well."""
        code = self._process.returncode or 0
        return ": ".join([self.end, *(self.last_lines(1) if code > 0 else [])])

    def last_lines(self, count: int) -> list[str]:
        """Return up to `count` of the lines that this process printed last."""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            begin = self._log_begin if self._log_begin <= size else 0
            log.seek(max(begin, size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-count:]

    async def wait(self) -> None:
        """Wait for the end of the process."""
        await self._process.wait()

    def send(self, signal: Signals) -> None:
        """Send a signal; nothing when it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal)

    async def stop(self, signals: Sequence[Signals], *, within_s: float) -> None:
        """Send one signal after the other, `within_s` apart, until the process has ended."""
        for signal in signals:
            self.send(signal)
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    return await self.wait()
        return await self.wait()


async def start_child(
    argv: Sequence[str], *, log: Path, environment: Mapping[str, str], inherit: Sequence[int] = ()
) -> Child:
    """Start `argv`, printing to the end of `log`; it inherits the descriptors `inherit`. OSError, StackError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    bound_log(log)
    with log.open("ab") as output:
        begin = output.tell()
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),  # uvloop takes no other mapping
            cwd="/",
            start_new_session=True,
            pass_fds=inherit,
        )
        return Child(process, log, begin)


def bound_log(log: Path) -> None:
    """Move what a log file holds beyond its limit to `<log>.1`, also while a process appends to it."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            # Not renamed: the process that writes holds the file open, and appends at its end wherever that is.
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


async def until_answering(child: Child, answers: Callable[[], Awaitable[bool]]) -> bool:
    """Ask `answers` until it says yes; False when the child ended before."""
    while child.running:
        if await answers():
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await child.wait()
    return False
