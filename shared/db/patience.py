"""Trying again what needs a database that cannot be used for now.

Who waits for it waits as long as it takes, or until what it waits for has no use any more; an open connection of a
device stays open meanwhile. PollLoop does the same for background work.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from shared.db.errors import DatabaseUnavailable
from shared.errors import ConnectionGone
from shared.log import get_logger

__all__ = ["before_next_try", "left_undone", "patiently", "promptly", "retry_pause_s"]

RETRY_S = 0.3

T = TypeVar("T")

log = get_logger(__name__)

# What was cancelled and has not ended yet; each holds a connection of the pool at the most, so it is as bounded.
_ending: set[asyncio.Task[Any]] = set()
_EXPECTED = (DatabaseUnavailable, ConnectionGone)


def retry_pause_s() -> float:
    """Return how long to wait before the next try. Each waits a little more or less than others: a database that comes
    back is not met by all sessions of all processes at the same moment.
    """
    return RETRY_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


async def before_next_try() -> None:
    """Wait before the next try."""
    await asyncio.sleep(retry_pause_s())


async def patiently(
    act: Callable[[], Awaitable[T]], *, waits: str, in_vain: Callable[[], bool] = lambda: False, **fields: str
) -> T:
    """Do what needs the database, again and again until it is there. waits: the event of the log, at level debug: that
    the database is away is said once by the process's loops. in_vain: whether another try has no use any more; then
    DatabaseUnavailable is raised as it came.
    """
    # No bound of its own: a deadline, or the end of whoever waits, cancels it from outside. A session that waits here
    # in its receiving task notices the end of its socket only when the database is back.
    while True:
        try:
            return await act()
        except DatabaseUnavailable as error:
            if in_vain():
                raise
            log.debug(waits, error=str(error), **fields)
            await before_next_try()


def left_undone(event: str, error: DatabaseUnavailable | TimeoutError, **fields: str) -> None:
    """Log that something is left undone, because nothing waits for it any more: the end of a session, an answer.

    A database that is away, or hangs, is told by the process's loops, once; of thousands of sessions each would tell
    it again. One that answers with an error may fail in this statement alone: that is a warning.
    """
    is_away = isinstance(error, TimeoutError) or type(error) is DatabaseUnavailable
    (log.debug if is_away else log.warning)(event, error=str(error), **fields)


async def promptly(work: Coroutine[Any, Any, T], *, within_s: float | None = None) -> T:
    """Do what needs the database, and wait so long for it and no longer, nor when cancelled: TimeoutError.

    A pool takes a connection back only when the server has confirmed that its statement is cancelled. One that hangs
    does not, and `asyncio.timeout` would wait for that, up to a minute: what hangs is cancelled and left to end alone.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=within_s)
    finally:
        if not task.done():
            task.cancel()
            _ending.add(task)
            task.add_done_callback(_ended)
    if not task.done():
        raise TimeoutError
    return task.result()


def _ended(task: asyncio.Task[Any]) -> None:
    """Look at what nobody waits for any more: that it came to no end is expected, and nothing else is."""
    _ending.discard(task)
    error = None if task.cancelled() else task.exception()
    # Several at once: work that has tasks of its own ends with what each of them met.
    if isinstance(error, BaseExceptionGroup):
        error = error.split(_EXPECTED)[1]
    if error is not None and not isinstance(error, _EXPECTED):
        log.error("task_failed", task=task.get_name(), exc_info=error)
