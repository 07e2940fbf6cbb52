"""Readers behind forwarders, as their forwarders tell of them."""

from typing import Any, Literal, TypeAlias

from api.http.types import Answer, Time

__all__ = ["LinkState", "ReaderInfo", "ReaderState", "ReaderStates"]

LinkState: TypeAlias = Literal["connected", "connecting", "disconnected"]
# As the device says it, and no field must be there: what there is stands in http-api.md, section 5.4.
ReaderInfo: TypeAlias = dict[str, Any]


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
