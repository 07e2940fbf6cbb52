"""What is told of a race's crossings, kept for who takes it: the newest of it, as bytes, once for all who follow.

A follower is the number of the message that it has last, and nothing is kept for it. One that is too slow for what is
kept is told to load anew, and goes on from the end: what it loads then holds at least that.
"""

import asyncio
from collections.abc import Sequence

__all__ = ["RESYNC", "Feed"]

KEPT_MESSAGES = 2_000
KEPT_BYTES = 1024 * 1024

RESYNC = b'event: resync\ndata: {"type":"resync"}\n\n'


class Feed:
    """Messages that are numbered on, the last of them kept."""

    def __init__(self) -> None:
        self._kept: dict[int, bytes] = {}
        self._bytes = 0
        self._news = asyncio.Event()
        self.last = 0
        self.closed = False

    def tell(self, messages: Sequence[bytes]) -> None:
        """Add messages, and wake who waits."""
        for each in messages:
            self.last += 1
            self._kept[self.last] = each
            self._bytes += len(each)
        while len(self._kept) > KEPT_MESSAGES or self._bytes > KEPT_BYTES:
            # The oldest, whoever still wants it; the last one, too, where it alone is too large.
            self._bytes -= len(self._kept.pop(next(iter(self._kept))))
        if messages:
            self._wake()

    def close(self) -> None:
        """Tell who waits that nothing comes any more."""
        self.closed = True
        self._wake()

    def take(self, seen: int, *, at_most: int) -> tuple[bytes, int]:
        """Return what comes behind a message, whole messages of about `at_most` bytes, and the number of the last."""
        if seen < self.last and seen + 1 not in self._kept:
            return RESYNC, self.last
        taken: list[bytes] = []
        size = 0
        while seen < self.last and size < at_most:
            seen += 1
            taken.append(self._kept[seen])
            size += len(taken[-1])
        return b"".join(taken), seen

    async def news(self, seen: int, *, within_s: float) -> None:
        """Wait until there is something behind a message, nothing comes any more, or the time is over."""
        # From here to the wait nothing is awaited: what is told next sets the very event that we wait for.
        if self.closed or seen < self.last:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        # Another event for who comes from now on: clearing this one would let those sleep on who are to wake.
        self._news.set()
        self._news = asyncio.Event()
