"""Terminals: one bash that blocks are typed into, and one that is left to what stays in the foreground."""

import asyncio
import os
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path

from tests.deploy.runbook.document import REPOSITORY
from tests.waiting import stretched

__all__ = ["BlockFailed", "Foreground", "Terminal"]

_SETTINGS = "set -euo pipefail"
_BLOCK_WITHIN_S = 60.0
_LONGEST_LINE = 2**20


class BlockFailed(AssertionError):
    """A block ended with something else than 0."""


class Terminal:
    """One bash, at the top of the repository: what a block exports or defines is there for those after it."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = dict(environment)
        self._bash: asyncio.subprocess.Process | None = None
        self._typed = 0

    async def open(self) -> None:
        """Start bash."""
        self._directory.mkdir(exist_ok=True)
        self._bash = await asyncio.create_subprocess_exec(
            "bash",
            "--noprofile",
            "--norc",
            cwd=REPOSITORY,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LONGEST_LINE,
        )
        await self.run(_SETTINGS)

    async def run(self, text: str) -> str:
        """Run some lines and return what they printed; BlockFailed when any of them fails, which ends the shell."""
        assert self._bash
        assert self._bash.stdin
        assert self._bash.stdout
        self._typed += 1
        script, mark = self._directory / f"{self._typed}.sh", f"--- end of {self._typed} ---"
        script.write_text(text)
        # Not `source ... && echo`: errexit is off inside of such a list.
        line = f"source {shlex.quote(str(script))} </dev/null\necho; echo '{mark}'\n"
        self._bash.stdin.write(line.encode())
        printed = b""
        async with asyncio.timeout(_BLOCK_WITHIN_S):
            while chunk := await self._bash.stdout.readline():
                if chunk.decode().strip() == mark:
                    return printed.decode().removesuffix("\n")
                printed += chunk
        raise BlockFailed(f"{text}\nfailed:\n{printed.decode()}")

    async def close(self) -> None:
        """End it."""
        if self._bash is not None and self._bash.returncode is None:
            self._bash.kill()
            await self._bash.wait()


class Foreground:
    """A block that stays, in a terminal of its own, until Ctrl-C."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.shown = ""

    @classmethod
    async def start(cls, text: str, environment: Mapping[str, str]) -> "Foreground":
        """Run `text`."""
        child = await asyncio.create_subprocess_exec(
            *("bash", "--noprofile", "--norc", "-c", f"{_SETTINGS}\n{text}"),
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(child)

    async def until_shown(self, words: str, *, within_s: float) -> None:
        """Read on until it has shown `words`; BlockFailed when it ends before."""
        assert self._child.stdout
        async with asyncio.timeout(within_s):
            while words not in self.shown:
                chunk = await self._child.stdout.read(4096)
                if not chunk:
                    raise BlockFailed(f"ended before it showed {words!r}:\n{self.shown}")
                self.shown += chunk.decode()

    async def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        if self._child.returncode is None:
            os.killpg(self._child.pid, signal.SIGINT)
        try:
            async with asyncio.timeout(stretched(45)):
                await self._child.communicate()
        except TimeoutError:
            os.killpg(self._child.pid, signal.SIGKILL)
            await self._child.communicate()
        assert self._child.returncode is not None
        return self._child.returncode
