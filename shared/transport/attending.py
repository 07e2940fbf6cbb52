"""The life of a session on an accepted socket: how each of its errors ends it, and what the device is told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

from aiohttp import WSCloseCode

from shared.db.errors import DatabaseUnavailable
from shared.db.patience import left_undone
from shared.errors import ProtocolError
from shared.log import get_logger
from shared.metrics import CONNECTIONS
from shared.transport.connection import ConnectionGone, DeviceConnection

__all__ = ["attend", "close_all"]

log = get_logger(__name__)

E = TypeVar("E", bound=Exception)


async def close_all(connections: Iterable[DeviceConnection], code: int, reason: str) -> None:
    """Close many connections at once."""
    closing = [asyncio.ensure_future(connection.close(code, reason)) for connection in connections]
    if closing:
        await asyncio.wait(closing)


async def attend(
    connection: DeviceConnection,
    session: Callable[[], Awaitable[None]],
    *,
    on_refusal: Callable[[ProtocolError], None] = lambda _: None,
) -> None:
    """Run a session on an accepted socket and end it as protocol.md, section 1.5, says, whatever comes out of it.

    A session may raise several errors at once (it has several tasks); the device is told the first, and so is
    `on_refusal` when the device is at fault.
    """
    CONNECTIONS.inc()
    try:
        await session()
    except* ConnectionGone:
        pass
    except* ProtocolError as group:
        error = _first(group)
        log.info(
            "connection_refused",
            session_id=str(connection.session_id),
            address=connection.address,
            code=error.code,
            error=str(error),
        )
        on_refusal(error)
        await connection.refuse(error)
    except* DatabaseUnavailable as group:
        left_undone("session_failed", _first(group), session_id=str(connection.session_id))
        await connection.refuse(ProtocolError("the server cannot serve you now", code="INTERNAL_ERROR"))
    except* Exception as group:
        log.exception("session_failed", session_id=str(connection.session_id), exc_info=group)
        await connection.refuse(ProtocolError("the server failed", code="INTERNAL_ERROR"))
    finally:
        CONNECTIONS.dec()
        # Its bytes are given back last, when nothing more of it is read: whoever waits for the room gets all of it.
        await connection.close(WSCloseCode.OK, "")
        connection.end()


def _first(group: BaseExceptionGroup[E]) -> E:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return cast("E", found)
