"""Some forwarders that journal, send and come back as those in the field do, while things break around them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from deploy.simulation.devices.forwarder import Forwarder
from tests.failure.facts import Database, whole
from tests.services import make_token
from tests.waiting import PATIENCE_S, stretched, wait_until

__all__ = ["Fleet", "fleet"]

_RECORD_EVERY_S = 0.02


class Fleet:
    """Forwarders that run; made by `fleet`."""

    def __init__(self, devices: Sequence[Forwarder]) -> None:
        self.devices = devices
        self._recorded = 0

    @property
    def reconnects(self) -> int:
        """How often any of them had to connect again."""
        return sum(device.reconnects for device in self.devices)

    @property
    def acked(self) -> int:
        """How many reads were acked to them all."""
        return sum(device.acked for device in self.devices)

    def record(self, count: int) -> None:
        """Have each reader of each device say `count` lines."""
        for _ in range(count):
            self._recorded += 1
            for device in self.devices:
                for reader in device.readers:
                    device.record(reader, f"{device.device_id} {reader} {self._recorded}")

    @asynccontextmanager
    async def racing(self) -> AsyncIterator[None]:
        """Record all the time inside."""

        async def go_on() -> None:
            while True:
                self.record(2)
                await asyncio.sleep(_RECORD_EVERY_S)

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            task.cancel()

    async def goes_on(self, acks: int = 100, *, within_s: float = PATIENCE_S) -> None:
        """Wait until each device has got so many reads more acked."""
        goals = [device.acked + acks for device in self.devices]
        await wait_until(
            lambda: all(device.acked >= goal for device, goal in zip(self.devices, goals, strict=True)),
            deadline_s=within_s,
            what=f"{acks} more acks for each device",
        )

    async def drained(self, *, within_s: float = PATIENCE_S) -> None:
        """Wait until everything that was recorded is acked."""
        async with asyncio.timeout(stretched(within_s)):
            await asyncio.gather(*(device.drained() for device in self.devices))

    async def whole(self, database: Database) -> None:
        """Check that the tables hold what was recorded, once, in order of positions, and count it right."""
        await whole(database, self.devices)


@asynccontextmanager
async def fleet(
    database: Database, *urls: str, count: int = 3, readers: int = 2, batch_size: int = 20
) -> AsyncIterator[Fleet]:
    """Run `count` forwarders, named f0, f1 and so on, spread over `urls`; connected when entered."""
    devices = [
        Forwarder(
            url=urls[number % len(urls)],
            token=await make_token(database, "forwarder", f"f{number}"),
            device_id=f"f{number}",
            readers=[f"10.0.{number}.{reader}:10000" for reader in range(readers)],
            batch_size=batch_size,
            backoff_s=(0.05, 0.2),
            flush_s=0.02,
        )
        for number in range(count)
    ]
    running = [asyncio.create_task(device.run()) for device in devices]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(device.wait_connected() for device in devices))
        yield Fleet(devices)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for device in devices:
            device.journal.close()
