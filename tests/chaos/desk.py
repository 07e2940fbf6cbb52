"""What an operator does over HTTP, through the reverse proxy: tokens, epoch resets, exports.

The answer may be that it cannot be done now: `ask` returns the status, 0 when there was no answer at all.
"""

from typing import Any, NamedTuple

import aiohttp

__all__ = ["Answer", "Desk"]

_TIMEOUT = aiohttp.ClientTimeout(total=15)


class Answer(NamedTuple):
    """Status (0: none) and body."""

    status: int
    body: bytes


class Desk:
    """An operator at one base URL, with a browser open for as long as the run lasts."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def ask(self, method: str, path: str, **how: Any) -> Answer:
        """Ask once."""
        try:
            async with self._http.request(method, self._url + path, timeout=_TIMEOUT, **how) as response:
                return Answer(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Answer(0, b"")
