"""The one way in which a loop waits: until it is woken, until its poll interval is over, or until it is
asked to stop.

A notification may be lost and a wake-up may come for nothing: whoever waits looks at the tables afterwards, whatever
ended the wait.
"""

import asyncio

__all__ = ["Stop", "Wake"]


class Stop:
    """The request to stop, made once for a whole process; it wakes whoever waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._wakes: list[Wake] = []

    @property
    def asked(self) -> bool:
        """Whether the process has been asked to stop."""
        return self._event.is_set()

    def ask(self) -> None:
        """Ask everything that waits to come to its end; may be called again."""
        self._event.set()
        # After the flag: whoever is woken by it looks at `asked` and finds it set.
        for wake in self._wakes:
            wake.set()

    async def wait(self) -> None:
        """Wait until the process is asked to stop."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, or less when asked to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return

    def waker(self) -> "Wake":
        """Return a new Wake that a stop wakes as well; one for each loop, for the life of the process."""
        wake = Wake()
        self._wakes.append(wake)
        # Made too late to be woken by `ask`: its loop would sleep for a whole poll interval before it looked.
        if self.asked:
            wake.set()
        return wake


class Wake:
    """A flag that notifications set and one loop waits for. Setting it any number of times wakes once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the loop that waits, or let its next wait return at once."""
        self._event.set()

    def clear(self) -> None:
        """Forget what it was set for: whoever asks looks now."""
        self._event.clear()

    async def wait(self, *, at_most_s: float) -> bool:
        """Wait until woken (true) or until `at_most_s` seconds are over (false); clears the flag."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            # Woken in the same step of the loop in which the time was over: the flag stays set, and ends the next wait
            # at once. Nothing is lost; a poll is counted that was none.
            return False
        # Cleared before the caller looks, not after: what is set while it looks may be of something that its look has
        # missed.
        self._event.clear()
        return True
