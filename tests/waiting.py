"""Waiting for facts instead of for time."""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

# The bound of a wait for what must happen and has no time of its own to keep: long enough for a machine that is
# busy with other tests, and paid by a failing test only.
PATIENCE_S = 60.0

# Stretched no further: a wait ends before its test does (`timeout` in pyproject.toml), and says what did not come.
LONGEST_WAIT_S = 270.0

# How often a wait looks: at first so often that it costs no time, and every tenth of a second where it takes seconds,
# because looking keeps those busy who are waited for.
_POLL_S, _SELDOM_S = 0.02, 0.1
_SELDOM = 0.05  # of the time that has passed


def stretched(seconds: float) -> float:
    """Return a bound in time as long as it must be here and now: it grows with how many processes share a core.

    What promises to be done within seconds is given them on a machine that has time for it; a machine that tests, or
    does other things besides, has less.
    """
    waiting_for_each_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(2.0, 1.0 + waiting_for_each_core)


@overload
async def wait_until(check: Callable[[], Awaitable[T]], *, deadline_s: float = ..., what: str = ...) -> T: ...
@overload
async def wait_until(check: Callable[[], T], *, deadline_s: float = ..., what: str = ...) -> T: ...
async def wait_until(
    check: Callable[[], Any], *, deadline_s: float = PATIENCE_S, what: str = "the condition"
) -> Any:
    """Return the first truthy value of `check`, looking at it again and again; AssertionError after `deadline_s`,
    stretched.
    """
    longest_s = max(deadline_s, min(stretched(deadline_s), LONGEST_WAIT_S))
    began_at = time.monotonic()
    while True:
        found = check()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if (waited_s := time.monotonic() - began_at) > longest_s:
            raise AssertionError(f"waited {longest_s:.0f} s for {what}; last seen: {value!r}")
        await asyncio.sleep(min(max(_POLL_S, waited_s * _SELDOM), _SELDOM_S))
