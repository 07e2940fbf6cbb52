"""A server of webhooks that takes notices, or does whatever else such servers do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

__all__ = ["Webhooks", "webhooks"]


@dataclass
class Webhooks:
    """Where it is, and what came: the path, and the notice as JSON. released: what hangs goes on."""

    port: int = 0
    came: list[tuple[str, Any]] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, more: str = "") -> str:
        """Return the address of a webhook, as ALERT_URLS has it."""
        return f"json://127.0.0.1:{self.port}/{path}{more}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take a notice, and answer as the path says."""
        path = request.path.strip("/")
        self.came.append((path, await request.json() if request.can_read_body else None))
        match path:
            case "fails":
                return web.Response(status=500, text="the token is a-secret")
            case "elsewhere":
                return web.Response(
                    status=307, headers={"Location": f"http://localhost:{self.port}/internal"}
                )
            case "hangs":
                await self.released.wait()
            case "drips":
                return await self._drip(request)
            case "slow":
                await asyncio.sleep(0.5)
        return web.Response(text="taken")

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        """Answer a byte at a time, so that no wait for the next is ever too long."""
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.released.is_set():
            await response.write(b".")
            await asyncio.sleep(0.1)
        return response


@asynccontextmanager
async def webhooks() -> AsyncIterator[Webhooks]:
    """Serve webhooks."""
    made = Webhooks()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        made.port = server.port or 0
        try:
            yield made
        finally:
            made.released.set()
