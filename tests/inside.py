"""A whole service inside the test's own process: quick to start, and its constants can be changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from shared.runtime.health import problems
from shared.runtime.process import Process
from tests.waiting import wait_until

__all__ = ["running"]


@asynccontextmanager
async def running(process: Process, run: Awaitable[None], port: int) -> AsyncIterator[None]:
    """Run it until the port is open and nothing is wrong with it, and stop it in order at the end.

    On a busy machine a process may lose its connections as it starts, and have them again a moment later.
    """
    task = asyncio.ensure_future(run)
    try:
        await wait_until(lambda: _ended_or_listens(task, port), what="the port to open")
        await wait_until(lambda: task.done() or not problems(process.checks), what="the process to be ready")
        yield
    finally:
        process.stop.ask()
        await task


async def _ended_or_listens(task: "asyncio.Future[None]", port: int) -> bool:
    if task.done():
        task.result()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
