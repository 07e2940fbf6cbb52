"""Answers that the database makes whole, such as a roster of 16 MiB: how many bytes of them a process holds at once.

Such an answer is in memory from when it is made until its client has taken it, and how long that takes the client
decides: a dozen on slow links would be more than a container has. One is made at a time; what is made is held within a
bound, and who comes then is told to ask again; a client that takes nothing for long is dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from api.http.errors import ApiError

__all__ = ["LargeAnswers"]

# Eight of the largest, or a hundred of a race of 5,000 people.
MOST_BYTES: Final = 128 * 1024 * 1024
# 16 MiB at 50 kB a second, twice.
SENT_WITHIN_S: Final = 600.0


class LargeAnswers:
    """The large answers of a process. held: bytes that clients have not taken yet."""

    def __init__(self) -> None:
        self.held = 0
        self._making = asyncio.Lock()

    async def send(
        self, request: web.Request, make: Callable[[], Awaitable[bytes]], *, within_s: float
    ) -> web.StreamResponse:
        """Make an answer and send it. ApiError where too much is held; TimeoutError when it is not made in time."""
        async with asyncio.timeout(within_s), self._making:
            # Before it is made, which takes the database a second: one more than is allowed does no harm.
            if self.held >= MOST_BYTES:
                raise ApiError(
                    "UNAVAILABLE", "too many large answers are on their way: ask again in a moment"
                )
            body = await make()
            # Held before the next is made.
            self.held += len(body)
        try:
            async with asyncio.timeout(SENT_WITHIN_S):
                return await _sent(request, body)
        except TimeoutError:
            # Whatever lies in the socket's buffer goes with it.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("a large answer was not taken in time") from None
        finally:
            self.held -= len(body)


async def _sent(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.Response(body=body, content_type="application/json")
    await response.prepare(request)
    # Returns when the client has taken all but the last of it.
    await response.write_eof()
    return response
