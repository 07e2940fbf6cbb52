"""How a role serves HTTP, and one shape for what aiohttp refuses by itself (http-api.md, section 2.3).

A request can be refused before any service's code sees it, each time with a page of aiohttp's own: by the parser (no
HTTP, a head too long, two lengths), for its `Expect`, and by the router. The parser's refusals reach no middleware
and no signal of the application; `RequestHandler.handle_error` is where they become an answer.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from shared.errors import RtServerError
from shared.log import get_logger
from shared.runtime.settings import host_port

__all__ = ["framework_error", "secure", "serving"]

BACKLOG = 1024
# How long requests under way have at the end.
SHUTDOWN_WITHIN_S = 2.0

# Any other status of 4xx is a BAD_REQUEST.
_CODES: Mapping[int, tuple[str, str]] = {
    404: ("NOT_FOUND", "there is no such route"),
    405: ("METHOD_NOT_ALLOWED", "the route does not take this method"),
    413: ("PAYLOAD_TOO_LARGE", "the body is larger than 1 MiB"),
    500: ("INTERNAL_ERROR", "the server failed to answer; its log says why"),
    504: ("TIMEOUT", "the server did not answer in time"),
}

# Nobody frames, sniffs or caches what we answer; a page of ours says for itself what else it may load.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = get_logger(__name__)


async def secure(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Give an answer, as a signal of the application, the headers of every answer."""
    _secure(response)


def _secure(response: web.StreamResponse) -> None:
    """Set the headers that an answer does not set itself, and keep our versions to ourselves."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "rt-server"


def framework_error(error: web.HTTPException) -> web.Response:
    """Return the answer, in the one shape, to what aiohttp refused."""
    answer = _refusal(error.status, f"refused: {error.reason}")
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def _refusal(status: int, reason: str) -> web.Response:
    code, message = _CODES.get(status, ("BAD_REQUEST", reason))
    return web.Response(
        body=orjson.dumps({"code": code, "message": message}),
        status=400 if code == "BAD_REQUEST" else status,
        content_type="application/json",
    )


@asynccontextmanager
async def serving(app: web.Application, bind: tuple[str, int]) -> AsyncIterator[asyncio.Server]:
    """Serve `app` on `bind`, (host, port); whoever closes the server that this gives accepts no connection any more.

    At the end requests under way have 2 s. Raises RtServerError when the address cannot be had.
    """
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_WITHIN_S)
    await runner.setup()
    try:
        manager = runner.server
        if manager is None:
            raise RuntimeError("a runner that is set up has a server")
        manager.request_handler = _answering(manager.request_handler)
        listening = await _listen(manager, bind)
        try:
            yield listening
        finally:
            listening.close()
    finally:
        await runner.cleanup()


async def _listen(manager: web.Server, bind: tuple[str, int]) -> asyncio.Server:
    loop = asyncio.get_running_loop()

    def protocol() -> _Protocol:
        return _Protocol(manager, loop=loop, access_log=None)  # type: ignore[arg-type]

    try:
        if bind[0] == "::" and socket.has_dualstack_ipv6():
            # Every address: asyncio's own would leave IPv4 out, and with it whoever asks 127.0.0.1 for our health.
            both = socket.create_server(bind, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
            return await loop.create_server(protocol, sock=both, backlog=BACKLOG)
        return await loop.create_server(protocol, *bind, backlog=BACKLOG)
    except OSError as error:
        raise RtServerError(f"cannot serve on {host_port(bind)}: {error.strerror}") from error


def _answering(handle: _Handle) -> _Handle:
    """Return the handler of all requests around everything that an application has, its middlewares too."""

    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handle(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return framework_error(error)

    return answered


class _Protocol(web.RequestHandler):
    """One connection."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - may quote what was sent
    ) -> web.StreamResponse:
        """Answer what could not be parsed, and a handler that failed; the connection ends with it."""
        if status < 500:
            # Anyone on the internet can send it, and it may hold a token: it is worth no more than a word.
            log.debug("request_unreadable", of=request.remote, error=type(exc).__name__)
        else:
            log.error("request_failed", method=request.method, path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it ends here")
        too_long = f"a line of the request's head is longer than {self.max_field_size} bytes"
        response = _refusal(
            status, too_long if isinstance(exc, LineTooLong) else "this is no request of HTTP/1.1"
        )
        _secure(response)
        response.force_close()
        return response
