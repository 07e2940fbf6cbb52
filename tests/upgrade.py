"""A device's WebSocket as it is opened: with a token or without, and what the server answered to that."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import aiohttp
from multidict import CIMultiDict

from tests.waiting import PATIENCE_S

__all__ = ["Socket", "Upgraded", "upgraded"]

Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"


class Upgraded(NamedTuple):
    """An open WebSocket, the client that has it, and the headers of the answer."""

    http: aiohttp.ClientSession
    socket: Socket
    headers: CIMultiDict[str]


@asynccontextmanager
async def upgraded(
    url: str, token: str | None, headers: Mapping[str, str], *, patience_s: float = PATIENCE_S
) -> AsyncIterator[Upgraded]:
    """Open a socket that answers no ping by itself; aiohttp.WSServerHandshakeError when it is refused."""
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    # Whoever has a WebSocket is not shown what was answered; whoever traces its session is.
    tracing, answered = aiohttp.TraceConfig(), CIMultiDict[str]()

    async def note(_session: Any, _context: SimpleNamespace, ended: aiohttp.TraceRequestEndParams) -> None:
        answered.update(ended.response.headers)

    tracing.on_request_end.append(note)
    async with aiohttp.ClientSession(
        trace_configs=[tracing], timeout=aiohttp.ClientTimeout(total=None)
    ) as http:
        async with asyncio.timeout(patience_s):
            socket = await http.ws_connect(
                url,
                headers={**authorization, **headers},
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                autoping=False,
                max_msg_size=0,
                decode_text=False,
            )
        try:
            yield Upgraded(http, socket, answered)
        finally:
            await socket.close()
