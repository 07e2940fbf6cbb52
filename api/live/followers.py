"""The event streams that devices follow by tokens of their own: a few of each, and none longer than its token lives.

Operators' streams are not known here. One that ends finds out by itself: it is told that there is news, and looks.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from api.http.device_tokens import Device
from api.http.errors import ApiError
from shared.db.channels import TOKENS
from shared.runtime.process import Process
from shared.transport.tokens import revoked_among

__all__ = ["OF_ONE_TOKEN", "Followers"]

# A receiver follows one; what opens more would leave no places for people.
OF_ONE_TOKEN = 8
POLL_S = 2.0


class Followers:
    """Who of the devices follows the events of this process, by token. ended: called when some are to end."""

    def __init__(self, process: Process, *, ended: Callable[[], None]) -> None:
        self._process = process
        self._open: Counter[UUID] = Counter()
        self._revoked: set[UUID] = set()
        self._ended = ended
        self._loop = process.loop("followers", self.look, poll_s=POLL_S, channel=TOKENS)
        process.listener.on(TOKENS, lambda _: self._loop.wake())

    async def run(self) -> None:
        """End the streams of revoked tokens, until the process stops."""
        await self._loop.run()

    @contextmanager
    def following(self, device: Device | None) -> Iterator[Callable[[], bool]]:
        """Count a stream while inside; yields what says whether it may go on. None: an operator's, which may."""
        if device is None:
            yield lambda: True
            return
        token_id = device.token_id
        if self._open[token_id] >= OF_ONE_TOKEN:
            raise ApiError("UNAVAILABLE", f"{OF_ONE_TOKEN} event streams of this device are open; close one")
        self._open[token_id] += 1
        try:
            yield lambda: token_id not in self._revoked
        finally:
            self._open[token_id] -= 1
            if not self._open[token_id]:
                del self._open[token_id]
                self._revoked.discard(token_id)

    async def look(self) -> bool:
        """Have the streams of revoked tokens end; true when there are some."""
        if not self._open:
            return False
        revoked = await revoked_among(self._process.pool, self._open)
        # What has ended while we looked is none of them.
        ending = (revoked & self._open.keys()) - self._revoked
        if ending:
            self._revoked |= ending
            self._ended()
        return bool(ending)
