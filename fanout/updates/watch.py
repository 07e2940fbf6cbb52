"""What is told of streams when it changes: looked at for all that receivers of the node follow, in one statement, once
a second at the most.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from fanout.sender import Saying
from shared.db.connections import Pool
from shared.runtime.process import Process

__all__ = ["Recipient", "Watch"]

# A change may be seen so late that no notification told of.
POLL_S = 2.0
REST_S = 1.0

T = TypeVar("T")


class Recipient(Protocol):
    """Who is told."""

    def tell(self, saying: Saying) -> None:
        """Send a message when there is time; must return at once."""


class Watch(Generic[T]):
    """Looks at one kind of thing.

    read: as it is of some streams, by stream. say: what is to be said of a stream that was as the first and is as the
    second; the first is None for who has not been told anything.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        *,
        channels: Iterable[str],
        read: Callable[[Pool, list[UUID]], Awaitable[dict[UUID, T]]],
        say: Callable[[T | None, T], list[Saying]],
    ) -> None:
        self._process = process
        self._read = read
        self._say = say
        self.recipients: dict[UUID, dict[Recipient, bool]] = {}  # and whether each has been told anything yet
        self.told: dict[UUID, T] = {}
        # One look at a time: what was read first must not be told last.
        self._looking = asyncio.Lock()
        self._loop = process.loop(name, self._look_and_rest, poll_s=POLL_S)
        for channel in channels:
            process.listener.on(channel, lambda _: self._on_notification())

    def _on_notification(self) -> None:
        if self.recipients:  # where nobody is told, each drain would wake us for nothing
            self._loop.wake()

    async def run(self) -> None:
        """Look, again and again, until the process stops."""
        await self._loop.run()

    async def join(self, recipient: Recipient, stream_ids: Iterable[UUID]) -> None:
        """Tell `recipient` of these streams from now on, beginning with what there is to say of them now. After
        DatabaseUnavailable it is told that as soon as it can be read.
        """
        joined = list(stream_ids)
        for stream_id in joined:
            self.recipients.setdefault(stream_id, {})[recipient] = False
        async with self._looking:
            found = await self._read(self._process.pool, joined)
            said: dict[object, Saying] = {}
            for stream_id, now in found.items():
                # What the others were told may be older: the next look tells them, and this one once more.
                self.told.setdefault(stream_id, now)
                if stream_id in self.recipients:
                    self.recipients[stream_id][recipient] = True
                said |= {each.about: each for each in self._say(None, now)}
            # Before the next look may begin: what that finds is newer, and must be told later. This waits for no reads:
            # it says how all begins.
            for each in said.values():
                recipient.tell(each._replace(ref=None))

    def leave(self, recipient: Recipient, stream_ids: Iterable[UUID]) -> None:
        """Tell `recipient` no more of these."""
        for stream_id in stream_ids:
            recipients = self.recipients.get(stream_id, {})
            recipients.pop(recipient, None)
            if not recipients:
                self.recipients.pop(stream_id, None)
                self.told.pop(stream_id, None)

    async def _look_and_rest(self) -> None:
        if self.recipients:
            await self.look()
            await self._process.stop.sleep(REST_S)

    async def look(self) -> None:
        """Look once, and tell what has changed."""
        async with self._looking:
            found = await self._read(self._process.pool, list(self.recipients))
            for stream_id, now in found.items():
                self._tell_all(stream_id, now)

    def _tell_all(self, stream_id: UUID, now: T) -> None:
        before = self.told.get(stream_id)
        recipients = self.recipients.get(stream_id, {})  # some may have left meanwhile
        for recipient, knows in recipients.items():
            if now != before or not knows:
                for each in self._say(before if knows else None, now):
                    recipient.tell(each)
        if recipients:
            self.told[stream_id] = now
            self.recipients[stream_id] = dict.fromkeys(recipients, True)
