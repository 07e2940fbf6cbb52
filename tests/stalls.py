"""How long one turn of an event loop holds all others, by the processor time of its thread: a machine that is busy with
other things does not lengthen it."""

import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["AT_MOST_S", "TRIES", "Stalls", "stalls"]

# What one message of a device may cost everybody else (a sixth of it is usual).
AT_MOST_S = 0.1
# Who shares the caches with us makes a turn longer, never shorter: the shortest of so many tries is the message's own.
TRIES = 3


class Stalls:
    """The longest turn so far."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._began = time.thread_time()

    def begins(self) -> None:
        """A turn begins: the loop has been told what has come."""
        self._began = time.thread_time()

    def ends(self) -> None:
        """A turn is over: the loop asks what has come."""
        self.longest_s = max(self.longest_s, time.thread_time() - self._began)


@contextmanager
def stalls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stalls]:
    """Measure every turn of the loop of this thread while inside. Not with uvloop, which waits in its own way."""
    found, thread = Stalls(), threading.get_ident()
    select = selectors.DefaultSelector.select

    def measured(selector: Any, timeout: float | None = None) -> Any:
        if threading.get_ident() != thread:
            return select(selector, timeout)
        found.ends()
        events = select(selector, timeout)
        found.begins()
        return events

    with monkeypatch.context() as patched:
        patched.setattr(selectors.DefaultSelector, "select", measured)
        yield found
