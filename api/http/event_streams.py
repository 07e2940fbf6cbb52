"""What all event streams (Server-Sent Events) have in common: their head, and how they are sent to who may be slow."""

import asyncio

from aiohttp import web

__all__ = ["CHUNK_BYTES", "HEADERS", "send"]

# A client that takes nothing for this long is gone, or might as well be.
CLIENT_WAITS_S = 20.0
CHUNK_BYTES = 64 * 1024

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # What proxies of the nginx kind are told with; others see it by the type.
    "X-Accel-Buffering": "no",
}


async def send(response: web.StreamResponse, message: bytes) -> None:
    """Send piece by piece: a slow client takes what is large in its own time, as long as it takes something;
    TimeoutError when it does not.
    """
    for start in range(0, len(message), CHUNK_BYTES):
        async with asyncio.timeout(CLIENT_WAITS_S):
            await response.write(message[start : start + CHUNK_BYTES])
