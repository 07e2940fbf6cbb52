"""What handlers have in common: the process they live in, and the places for what takes long."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from api.commands import Commands
from api.errors import ApiError
from api.live import Live
from shared.activity import Activity
from shared.database import Pool
from shared.process import Process

__all__ = ["Api"]

# Each has a connection of its own for as long as its client takes.
EXPORTS_AT_ONCE = 8
EXPORT_WAITS_S = 10.0


class Api:
    """One api process, as its handlers see it.

    activity: where it notes what operators should know. description: the OpenAPI document of its routes. commands: the
    way to the forwarders.
    """

    def __init__(self, process: Process, *, activity: Activity, description: Mapping[str, Any]) -> None:
        self.process = process
        self.activity = activity
        self.description = description
        self.live = Live(process)
        self.commands = Commands(process)
        self._exports = asyncio.Semaphore(EXPORTS_AT_ONCE)

    @property
    def pool(self) -> Pool:
        """The pool for short statements."""
        return self.process.pool

    @asynccontextmanager
    async def export_place(self) -> AsyncIterator[None]:
        """Hold one of the places for exports; ApiError when none comes free in time."""
        try:
            async with asyncio.timeout(EXPORT_WAITS_S):
                await self._exports.acquire()
        except TimeoutError:
            raise ApiError(
                "UNAVAILABLE", f"{EXPORTS_AT_ONCE} exports are under way; try again later"
            ) from None
        try:
            yield
        finally:
            self._exports.release()
