"""Every error in the one shape of http-api.md, section 2.3, whoever raised it: a handler, the framework, the database
or nobody knows who. What an answer says is for people; SQL and the database's own words stay in the log.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from aiohttp import web

from shared.db.errors import DatabaseFault, DatabaseUnavailable, TableLocked
from shared.errors import RtServerError
from shared.log import get_logger
from shared.runtime.http import framework_error

__all__ = ["STATUS", "ApiError", "Code", "Error", "Handler", "answer_errors", "no_stream", "told"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

Code = Literal[
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "FORWARDER_ERROR",
    "UNAVAILABLE",
    "TIMEOUT",
    "INTERNAL_ERROR",
]

STATUS: Mapping[Code, int] = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "FORWARDER_ERROR": 502,
    "UNAVAILABLE": 503,
    "TIMEOUT": 504,
    "INTERNAL_ERROR": 500,
}

_RETRY_AFTER_S = "2"
_AWAY = "the database is away; try again in a few seconds"
_LOCKED = "another session of the database holds a lock; try again in a few seconds, or end that session"

log = get_logger(__name__)


class Error(msgspec.Struct, omit_defaults=True):
    """What every error answer holds."""

    code: Code
    message: str
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ApiError(RtServerError):
    """A request cannot be served; the message goes to whoever asked.

    headers: what the answer carries besides. details: what a program may want to know.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code: Code = code
        self.details = msgspec.UNSET if details is None else details
        self.headers = dict(headers or {})


def no_stream() -> ApiError:
    """Return the error for an id that no stream has."""
    return ApiError("NOT_FOUND", "there is no stream of this id")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer in the one shape when anything inside raises. A redirect is no error, a lost client needs no answer."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return framework_error(error)
    except ConnectionError:
        if request.transport is not None and not request.transport.is_closing():
            raise  # a broken answer is broken off
        # Whoever asked has gone, such as a page that is closed while it connects. Raised, it would be logged as a fault
        # of ours, with all that led to it; an answer is dropped where it would be written.
        return web.Response()
    except Exception as error:
        return _response(told(error, method=request.method, path=request.path))


def told(error: Exception, **asked: str) -> ApiError:
    """Return what whoever asked is told of an error; what is not theirs to know is in the log.

    asked: what was asked, for the log.
    """
    match error:
        case ApiError():
            return error
        case DatabaseFault():
            # Nothing that passes within seconds.
            log.error("request_failed", **asked, exc_info=error)
            return ApiError("INTERNAL_ERROR", "the database is at fault; the server's log says why")
        case DatabaseUnavailable():
            log.warning("database_away", **asked, error=str(error))
            # A program that asks again, such as the dashboard, says which part is to blame.
            message = _LOCKED if isinstance(error, TableLocked) else _AWAY
            return ApiError("UNAVAILABLE", message, details={"cause": "database"})
        case _:
            log.error("request_failed", **asked, exc_info=error)
            return ApiError("INTERNAL_ERROR", "the server failed to answer; its log says why")


def _response(error: ApiError) -> web.Response:
    if error.code == "UNAVAILABLE":
        error.headers.setdefault("Retry-After", _RETRY_AFTER_S)
    return web.Response(
        body=msgspec.json.encode(Error(error.code, str(error), error.details)),
        status=STATUS[error.code],
        headers=error.headers,
        content_type="application/json",
    )
