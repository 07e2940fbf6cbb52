"""What handlers have in common: the process that they live in, and the parts of it that only some of them need."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast

from api.http.asking import asker
from shared.db.connections import Pool, Transaction
from shared.runtime.activity import Activity, Note
from shared.runtime.process import Process

__all__ = ["Api"]

T = TypeVar("T")


class Api:
    """One api process, as its handlers see it.

    activity: where it notes what operators should know. description: the OpenAPI document of its routes. parts: what
    subjects keep for the life of the process, one of each type; api/app.py makes them, so that nothing here knows a
    subject.
    """

    def __init__(
        self,
        process: Process,
        *,
        activity: Activity,
        description: Mapping[str, Any],
        parts: Iterable[object] = (),
    ) -> None:
        self.process = process
        self.activity = activity
        self.description = description
        self._parts = {type(each): each for each in parts}

    def part(self, kind: type[T]) -> T:
        """Return the part of that type."""
        return cast("T", self._parts[kind])

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[tuple[Transaction, Note]]:
        """Yield a connection for a change that somebody asks for, and what notes it with who that is.

        The change and its entry are committed together, or nothing is. Inside, nothing may ask for another connection:
        as many changes at once as the pool has would wait for each other.
        """
        who = asker()
        # A device can do it again at will: its entries never take the place of those of people.
        of = None if who.device is None else who.by
        async with self.activity.changing(self.pool) as (connection, note):
            yield connection, partial(note, of=of, by=who.by, address=who.address)

    def note(self, event: str, **fields: Any) -> None:
        """Tell operators what became of what one of them has asked for, or a device for them, and who that was."""
        who = asker()
        # A device can do it again at will: its entries never take the place of those of people.
        of = None if who.device is None else who.by
        self.activity.note(event, of=of, **fields, by=who.by, address=who.address)

    async def record(self, event: str, **fields: Any) -> None:
        """The same, written before it is done; DatabaseUnavailable when it cannot be."""
        who = asker()
        await self.activity.record(
            self.pool, event, of_device=who.device is not None, **fields, by=who.by, address=who.address
        )

    @property
    def pool(self) -> Pool:
        """The pool for short statements."""
        return self.process.pool
