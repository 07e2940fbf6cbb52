"""Devices that send much more than a gateway may hold, and what it holds of that."""

import asyncio
from pathlib import Path

from tests.failure.wire import Wire, batch, read
from tests.services import Process
from tests.waiting import stretched, wait_until

__all__ = [
    "DEVICES",
    "MESSAGES",
    "MESSAGE_BYTES",
    "MIB",
    "all_acked",
    "memory",
    "send_on",
    "steady",
]

MIB = 1024 * 1024
DEVICES = 8
MESSAGES = 120
# Small, so that several lie in each socket's queue when the limit is passed.
MESSAGE_BYTES = 32 * 1024


async def send_on(wire: Wire) -> None:
    """Send much more than a gateway that may hold 1 MiB, without waiting for any ack."""
    for number in range(1, MESSAGES + 1):
        await wire.send(batch(read(number, "x" * MESSAGE_BYTES)))


async def all_acked(wire: Wire) -> None:
    """Receive the acks of all of it, in order."""
    assert [(await wire.ack(within_s=stretched(30)))[0][2] for _ in range(MESSAGES)] == list(
        range(1, MESSAGES + 1)
    )


def memory(process: Process) -> int:
    """Return the resident bytes of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def steady(gateway: Process) -> float:
    """Return what the gateway holds once that is something and has not changed for a second."""
    last, since = 0.0, 0.0

    async def unchanged() -> bool:
        nonlocal last, since
        now = await gateway.metric("rtserver_held_bytes")
        time = asyncio.get_running_loop().time()
        if now != last:
            last, since = now, time
        return bool(last) and time - since > 1.0

    await wait_until(unchanged, deadline_s=30, what="the gateway to hold as much as it will")
    return last
