"""The newest messages of the event stream, numbered, for those who follow it at their own pace.

A follower is a position: the number of the next message that it wants. Nothing is kept for anyone; who comes too late
for a message finds it gone. The ring has a name, which stands in every id: under another name numbers mean nothing.

What is told has two forms, and most messages are of one only. Numbers are common to both, so that an id says to any
follower where it stands.
"""

import asyncio
from collections.abc import Collection
from secrets import token_hex

from api.live.messages import Form

__all__ = ["BOTH", "CHANGED", "SINGLE", "Ring"]

SINGLE: tuple[Form, ...] = ("single",)
CHANGED: tuple[Form, ...] = ("changed",)
BOTH: tuple[Form, ...] = ("single", "changed")


class Ring:
    """At most `messages` of them, and at most `size` bytes."""

    def __init__(self, *, messages: int, size: int) -> None:
        self._most_messages = messages
        self._most_bytes = size
        self._kept: dict[int, tuple[bytes, Collection[Form]]] = {}
        self._bytes = 0
        self._next = 1
        self._name = token_hex(4)
        self._news = asyncio.Event()
        self.closed = False

    @property
    def end(self) -> int:
        """The position of who has everything."""
        return self._next

    @property
    def next_id(self) -> str:
        """The id that the next message gets."""
        return f"{self._name}-{self._next}"

    @property
    def last_id(self) -> str:
        """The id of the newest message, or of none before the first."""
        return f"{self._name}-{self._next - 1}"

    def add(self, message: bytes, forms: Collection[Form] = BOTH) -> None:
        """Add the message that has `next_id`, and wake who waits."""
        self._kept[self._next] = message, forms
        self._bytes += len(message)
        self._next += 1
        while len(self._kept) > self._most_messages or self._bytes > self._most_bytes:
            # The oldest, whoever still wants it: a follower that is too slow finds it gone, and holds up nobody.
            message, _ = self._kept.pop(next(iter(self._kept)))
            self._bytes -= len(message)
        self.wake()

    def rename(self) -> None:
        """Forget all messages and their numbers."""
        # Positions of before would name other messages now. Nobody follows at this moment, and ids carry the name.
        self._kept.clear()
        self._bytes, self._next, self._name = 0, 1, token_hex(4)

    def close(self) -> None:
        """Tell who waits that nothing comes any more."""
        self.closed = True
        self.wake()

    def position_after(self, event_id: str) -> int | None:
        """Return the position of who has seen a message; None when what came after it is not known here."""
        name, _, number = event_id.rpartition("-")
        if name != self._name or not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        position = int(number) + 1
        return position if self._has(position) else None

    def take(self, position: int, *, at_most: int, form: Form = "single") -> tuple[bytes, int] | None:
        """Return the messages of a form from a position on, whole ones of about `at_most` bytes, and the position
        behind them; None when the first of all is gone.
        """
        if not self._has(position):
            return None
        taken: list[bytes] = []
        size = 0
        while position < self._next and size < at_most:
            message, forms = self._kept[position]
            if form in forms:
                taken.append(message)
                size += len(message)
            position += 1
        return b"".join(taken), position

    async def news(self, position: int, *, within_s: float) -> None:
        """Wait until there is something at a position, until the ring is closed, or until the time is over."""
        # From here to the wait nothing is awaited: what is added next sets the very event that we wait for.
        if position < self._next or self.closed:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return

    def _has(self, position: int) -> bool:
        return position == self._next or position in self._kept

    def wake(self) -> None:
        """Have everybody who waits look again."""
        # Another event for who comes from now on: clearing this one would let those sleep on who are to wake.
        self._news.set()
        self._news = asyncio.Event()
