"""Roles as processes that start at once: forked from a process that has imported everything and does nothing else.

A role takes a third of a second of a processor to import what it needs, and the tests start hundreds. Whoever is forked
is a process like any other: it has its own id, environment, memory and signals, and nothing of it ran before. That
`python -m gateway` and its like start, and say what is wrong, is tested where they are started so. What measures uses
them too: it forks nothing unless `enable` was called.
"""

import asyncio
import ctypes
import math
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import Any, Protocol

from deploy.local.child import ends_with_parent
from shared.roles import ROLES
from tests.waiting import wait_until

__all__ = ["Started", "enable", "start_role"]

_PR_SET_PDEATHSIG = 1
_server = multiprocessing.get_context("forkserver")
_enabled = False


class Started(Protocol):
    """A process, as asyncio's subprocesses are and `Fork` is."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, signal: int) -> None: ...
    async def wait(self) -> int: ...


def enable() -> None:
    """Fork roles from now on. The first start waits until all that they need is imported."""
    global _enabled  # noqa: PLW0603 (set once, when the tests begin)
    # With pytest as the program itself, and not as a worker's, multiprocessing has each child import it.
    with_pytest = [] if "PYTEST_XDIST_WORKER" in os.environ else ["pytest"]
    _server.set_forkserver_preload([*(f"{role}.app" for role in ROLES), *with_pytest, "tests.frozen"])
    _enabled = True


async def start_role(role: str, environment: Mapping[str, str]) -> Started:
    """Start a role in our environment and `environment`. It ends when this process does, however that ends."""
    whole = {**os.environ, **environment}
    if not _enabled:
        argv = ends_with_parent([sys.executable, "-m", role], signal.SIGKILL)
        return await asyncio.create_subprocess_exec(*argv, env=whole)
    process = _server.Process(target=_become, args=(role, whole, (_Output(1), _Output(2))), daemon=True)
    await asyncio.to_thread(process.start)
    return Fork(process)


class Fork:
    """A role that was forked."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._process.exitcode

    def send_signal(self, signal: int) -> None:
        """Send it a signal; nothing when it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal)

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        await wait_until(lambda: self.returncode is not None, deadline_s=math.inf)
        assert self.returncode is not None
        return self.returncode


class _Output:
    """Where this process prints to at the moment, handed to a child: a test may have turned it elsewhere."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.descriptor = number

    def __getstate__(self) -> tuple[int, Any]:
        return self.number, DupFd(self.descriptor)

    def __setstate__(self, state: tuple[int, Any]) -> None:
        self.number, handed = state
        self.descriptor = handed.detach()

    def take(self) -> None:
        """Print to there from now on."""
        os.dup2(self.descriptor, self.number)
        os.close(self.descriptor)


def _become(role: str, environment: Mapping[str, str], outputs: tuple[_Output, ...]) -> None:
    # The server that forked us ends with the tests, and we with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for output in outputs:
        output.take()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [role]
    runpy.run_module(role, run_name="__main__", alter_sys=True)
