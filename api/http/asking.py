"""Who asks: what entries of the log say beside what was done. A note, no proof: people type their own name."""

import binascii
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from aiohttp import web

from api.http.access import DEVICE
from api.http.device_tokens import Device
from api.http.errors import Handler
from shared.runtime.client_address import address_of

__all__ = ["NAMELESS", "Asker", "asked_by", "asker", "remember_asker"]

LONGEST = 60
_WITH_TOKEN, _WITHOUT = NAMELESS = ("API token", "no token")


class Asker(NamedTuple):
    """by: a device ("forwarder start-line"), the user name of Basic, else what was shown. address: as the reverse proxy
    says it, else the connection's. device: who shows a device's token, and may do no more than is a device's.
    """

    by: str
    address: str
    device: Device | None = None

    @classmethod
    def of_device(cls, device: Device, address: str) -> "Asker":
        """Return a device as one that asks."""
        return cls(f"{device.device_type} {device.device_id}"[:LONGEST], address, device)


_ASKER: ContextVar[Asker | None] = ContextVar("asker", default=None)


def asker() -> Asker:
    """Return who sends the request that is being answered."""
    return _ASKER.get() or Asker("rt-server", "")


@web.middleware
async def remember_asker(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep in mind who asks, for as long as the request is answered."""
    address = address_of(request)
    device = request.get(DEVICE)
    if device is None:
        who = Asker(_name(request.headers.get("Authorization", "")), address)
    else:
        who = Asker.of_device(device, address)
    with asked_by(who):
        return await handler(request)


@contextmanager
def asked_by(who: Asker) -> Iterator[None]:
    """Have what is done inside be asked by somebody, whatever way it came."""
    token = _ASKER.set(who)
    try:
        yield
    finally:
        _ASKER.reset(token)


def _name(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            user = b64decode(credentials.strip(), validate=True).decode().partition(":")[0].strip()
        except (binascii.Error, ValueError):
            user = ""
        if user and user.isprintable():
            return user[:LONGEST]
    return _WITH_TOKEN if authorization else _WITHOUT
