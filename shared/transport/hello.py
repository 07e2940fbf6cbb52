"""What a device says first, and what it says that nobody knows: the same of forwarders and receivers."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from shared.errors import ProtocolError
from shared.metrics import UNKNOWN_MESSAGES
from shared.protocol.v1 import UnknownMessage
from shared.transport.connection import ConnectionGone, DeviceConnection, NoHello
from shared.transport.tokens import Identity

__all__ = ["check_id", "count_unknown", "greet"]

HELLO_WITHIN_S = 90.0

H = TypeVar("H")


async def greet(connection: DeviceConnection, decode: Callable[[bytes], object], hello_type: type[H]) -> H:
    """Receive the hello.

    Raises ProtocolError with the refusal that the device is owed, ConnectionGone when the socket ends first.
    """
    try:
        async with asyncio.timeout(HELLO_WITHIN_S):
            message = await connection.receive()
    except TimeoutError:
        raise NoHello(f"no hello within {HELLO_WITHIN_S:.0f} s") from None
    if message is None:
        raise ConnectionGone("no hello")
    hello = decode(message)
    if not isinstance(hello, hello_type):
        raise ProtocolError("the first message must be a hello")
    return hello


def check_id(claimed: str, identity: Identity) -> None:
    """Raise IDENTITY_MISMATCH when a hello names another device than the token stands for."""
    if claimed not in identity.aliases:
        raise ProtocolError("the token belongs to another device", code="IDENTITY_MISMATCH")


def count_unknown(message: object) -> bool:
    """Whether a message is of a kind that we do not know; counts those that are."""
    if isinstance(message, UnknownMessage):
        UNKNOWN_MESSAGES.inc()
        return True
    return False
