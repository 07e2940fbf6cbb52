"""How many events a receiver may be sent now: what is in flight, its pace, and whether it reads at all.

A receiver that acks nothing is given time to digest, and must have read what it was sent: for seconds after its hello
one in the field reads nothing, and then all that has come in one go, far more than it can hold. So a ping follows what
was sent, and nothing more is sent before its pong.
"""

import asyncio

from fanout.in_flight import InFlight
from fanout.pace import Pace
from fanout.settings import FanoutSettings
from shared.transport.connection import DeviceConnection
from shared.wake import Wake

__all__ = ["Allowance"]

# How soon a receiver is asked again for a pong: it may answer the latest of several pings alone.
PONG_LOOK_S = 5.0


class Allowance:
    """Says when the next message may go to a receiver, and how many events at the most it may have.

    asks_first: whether the time that acks are waited for counts from the pong to a ping right behind what was sent, as
    the second generation needs it, and not from the message: it is unresponsive for so long that acks and pongs of all
    that came meanwhile are one burst (deploy/docs/protocol.md, section 12.6).
    """

    def __init__(
        self, connection: DeviceConnection, settings: FanoutSettings, pace: Pace, *, asks_first: bool = False
    ) -> None:
        self.in_flight = InFlight()
        self.pace = pace
        self._connection = connection
        self._settings = settings
        self._asks_first = asks_first
        self._acks = Wake()
        self._pings = 0
        self._ponged = 0
        connection.on_pong = self._receive_pong

    def acked(self) -> None:
        """Look again: an ack has made room."""
        self._acks.set()

    async def room(self) -> int:
        """Wait until something may be sent and return how many events at the most."""
        loop, settings = asyncio.get_running_loop(), self._settings
        if pause_s := self.pace.pause_s(loop.time()):
            await asyncio.sleep(pause_s)
        while self.in_flight.events >= settings.max_in_flight:
            if self._asks_first:
                await self._until_read()
            if self._is_full and await self._acks.wait(at_most_s=settings.pace_ms / 1000):
                continue
            if not self._asks_first:
                await self._until_read()
            if self._is_full:
                self.in_flight.forget(settings.batch_events)
        return min(settings.batch_events, settings.max_in_flight - self.in_flight.events)

    @property
    def _is_full(self) -> bool:
        return self.in_flight.events >= self._settings.max_in_flight

    async def _until_read(self) -> None:
        """Wait for a pong to a ping that follows all that was sent, or for acks. Who never answers is dropped by
        `stay_alive`, which ends this task.
        """
        owed = self.in_flight.events
        first = self._pings + 1
        while self._ponged < first and self.in_flight.events == owed:
            self._pings += 1
            await self._connection.ping(self._pings.to_bytes(8))
            await self._acks_or_pong(first, owed)

    async def _acks_or_pong(self, first: int, owed: int) -> None:
        """Wait PONG_LOOK_S for a pong to `first` or a later ping, or for acks."""
        gives_up_at = asyncio.get_running_loop().time() + PONG_LOOK_S
        while self._ponged < first and self.in_flight.events == owed:
            left_s = gives_up_at - asyncio.get_running_loop().time()
            if left_s <= 0 or not await self._acks.wait(at_most_s=left_s):
                return

    def _receive_pong(self, payload: bytes) -> None:
        number = int.from_bytes(payload[:8])  # 0: one of `stay_alive`
        if self._ponged < number <= self._pings:
            self._ponged = number
            self._acks.set()
