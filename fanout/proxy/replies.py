"""Who is told that an answer has come: the sessions of a node that wait for one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from shared.db.channels import REPLIES
from shared.runtime.process import Process

__all__ = ["Replies"]


class Replies:
    """The sessions of a node that ask, by their ids."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._told: dict[str, Callable[[], None]] = {}
        process.listener.on(REPLIES, self._on_notification)

    @contextmanager
    def told(self, session_id: UUID, tell: Callable[[], None]) -> Iterator[None]:
        """Have `tell` called when an answer for the session has come, while inside."""
        self._told[str(session_id)] = tell
        try:
            yield
        finally:
            del self._told[str(session_id)]

    def _on_notification(self, payload: str) -> None:
        if payload:
            self._told.get(payload, lambda: None)()
            return
        for tell in self._told.values():  # some may have been missed
            tell()
