"""Work that is started on the way, each piece in a task of its own, and owned by whoever starts it.

- A piece that fails unforeseen hurts itself alone: it is an error in the log, with its traceback and what it was about.
  It is never silent.
- All of it ends with its owner: at a stop it has a time to come to its own end, and is cancelled then.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from shared.log import get_logger

__all__ = ["Tasks"]

T = TypeVar("T")

log = get_logger(__name__)


class Tasks:
    """The tasks that one owner has started and that go on. stop_within_s: for how long after the owner's end."""

    def __init__(self, *, stop_within_s: float = 0.0) -> None:
        self._stop_within_s = stop_within_s
        self._running: set[asyncio.Task[Any]] = set()
        self._group: asyncio.TaskGroup | None = None

    async def during(self, owner: Awaitable[None]) -> None:
        """Do what the owner does, beside what it starts meanwhile; if it fails, all that is cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await owner
            # What is under way may start more.
            until = asyncio.get_running_loop().time() + self._stop_within_s
            while self._running and (left_s := until - asyncio.get_running_loop().time()) > 0:
                await asyncio.wait(self._running, timeout=left_s)
            for task in self._running:
                task.cancel()

    def start(self, name: str, work: Coroutine[Any, Any, T], **about: str) -> asyncio.Task[T | None]:
        """Start a piece of work and return its task, whose result is None when it has failed. about: for the log."""
        if self._group is None:
            work.close()
            raise RuntimeError(f"{name} was started before its owner")
        task = self._group.create_task(_loud(name, work, about), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


async def _loud(name: str, work: Coroutine[Any, Any, T], about: dict[str, str]) -> T | None:
    try:
        return await work
    except Exception:
        log.exception("task_failed", task=name, **about)
        return None
