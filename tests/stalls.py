"""How long one step of an event loop holds all others, by the processor time of its thread: a machine that is busy with
other things does not lengthen it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["AT_MOST_S", "TRIES", "Stalls", "stalls"]

# What one message of a device may cost everybody else (a sixth of it is usual).
AT_MOST_S = 0.1
# Who shares the caches with us makes a step longer, never shorter: the shortest of so many tries is the message's own.
TRIES = 3


class Stalls:
    """The longest step so far, and what it was."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.step = "none"

    def note(self, seconds: float, handle: asyncio.Handle) -> None:
        """Remember a step that was longer than all before."""
        if seconds > self.longest_s:
            self.longest_s, self.step = seconds, repr(handle)


@contextmanager
def stalls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stalls]:
    """Measure every step of the loops of this thread while inside. Not with uvloop, whose steps are its own."""
    found = Stalls()
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> Any:
        began = time.thread_time()
        try:
            return run(handle)
        finally:
            found.note(time.thread_time() - began, handle)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.Handle, "_run", measured)
        yield found
