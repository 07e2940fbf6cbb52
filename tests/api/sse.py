"""An event stream, read as a browser's EventSource does."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

__all__ = ["Events", "follow"]

PATH = "/api/v1/events"


class Events:
    """What came so far; each is the JSON of an event, whose name and line agree."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last_id = ""
        self.comments = 0

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        name, data = "", b""
        while True:
            whole = await self._answer.content.readuntil(b"\n")
            # Reading at an end returns at once, again and again: nothing else would ever run, and no timeout come.
            assert whole, "the stream has ended"
            line = whole.rstrip(b"\n")
            field, _, value = line.partition(b": ")
            if line.startswith(b":"):
                self.comments += 1
            elif field == b"id":
                self.last_id = value.decode()
            elif field == b"event":
                name = value.decode()
            elif field == b"data":
                data = value
            elif not line and data:
                event: dict[str, Any] = orjson.loads(data)
                assert event["type"] == name
                return event

    async def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Return the first event that is wanted, leaving out those before."""
        while not wanted(event := await self.next()):
            pass
        return event

    async def named(self, name: str) -> dict[str, Any]:
        """Return the next event of a name."""
        return await self.until(lambda event: event["type"] == name)


@asynccontextmanager
async def follow(
    http: aiohttp.ClientSession, url: str = "", *, last_id: str | None = None, query: str = ""
) -> AsyncIterator[Events]:
    """Open an event stream; with `last_id` as one that comes back."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with http.get(url + PATH + query, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        yield Events(answer)
