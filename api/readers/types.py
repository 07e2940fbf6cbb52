"""Readers behind forwarders, as their forwarders tell of them, and what can be asked of them."""

from typing import Annotated, Literal

from msgspec import Meta

from api.http.types import Answer, DeviceId, Request, Time
from shared.protocol.devices import LinkState, ReaderInfo

__all__ = [
    "Accepted",
    "Enabled",
    "LinkState",
    "ReaderAnswer",
    "ReaderInfo",
    "ReaderPath",
    "ReaderState",
    "ReaderStates",
    "StatesQuery",
    "WantedMode",
]


# For who reads the document: addresses.py checks it, and says what is wrong in words of its own.
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
Address = Annotated[
    str, Meta(max_length=200, extra_json_schema={"pattern": rf"^{_OCTET}(\.{_OCTET}){{3}}:{_PORT}$"})
]


class ReaderPath(Request):
    """A reader of a forwarder, by its address there: an IPv4 address and a port."""

    forwarder_id: DeviceId
    reader_ip: Address


class StatesQuery(Request):
    """Of which forwarder; none: of all."""

    forwarder_id: DeviceId | None = None


class WantedMode(Request):
    """How a reader is to read; timeout: in the reader's own units."""

    mode: Literal["raw", "event", "fsls"]
    timeout: Annotated[int, Meta(ge=0, le=255)]


class Enabled(Request):
    """Whether a reader is to do something."""

    enabled: bool


class ReaderAnswer(Answer):
    """What a forwarder says when it has asked its reader, and what it knows of the reader then."""

    ok: bool
    error: str | None
    reader_info: ReaderInfo | None


class Accepted(Answer):
    """A forwarder has been told; what comes of it shows later."""

    ok: bool


class ReaderState(Answer):
    """A reader, as its forwarder told of it last; disconnected while that is not connected itself. reader_info is the
    last that was told, at info_at, whatever the link is. updated_at: since when it is so.
    """

    forwarder_id: str
    reader_ip: str
    state: LinkState
    connected: bool
    reader_info: ReaderInfo | None
    info_at: Time | None
    updated_at: Time


class ReaderStates(Answer):
    """Readers of which forwarders have told, by forwarder and address: the newest 10,000. Older forwarders tell of
    none.
    """

    reader_states: list[ReaderState]
