"""A database that fails when a test says so."""

from typing import Any

import asyncpg

__all__ = ["FAILURES", "FailingPool"]

# As the driver says it: it is away; somebody holds a row.
FAILURES: dict[str, type[Exception]] = {"away": OSError, "locked": asyncpg.LockNotAvailableError}


class FailingPool:
    """A pool of which one statement fails: that behind so many others, once it is told."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._failure: type[Exception] | None = None
        self._after = 0

    def fail(self, failure: str, after: int) -> None:
        self._failure, self._after = FAILURES[failure], after

    def mend(self) -> None:
        self._failure = None

    async def execute(self, *given: Any) -> Any:
        self._count()
        return await self._pool.execute(*given)

    async def fetch(self, *given: Any) -> Any:
        self._count()
        return await self._pool.fetch(*given)

    async def fetchval(self, *given: Any) -> Any:
        self._count()
        return await self._pool.fetchval(*given)

    def _count(self) -> None:
        if self._failure is None:
            return
        if self._after:
            self._after -= 1
            return
        failure, self._failure = self._failure, None
        raise failure("as told")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
