"""What operators can ask of forwarders: the one registry of commands (protocol.md, section 6).

A kind is an entry here and nothing else: what stands in its row, the message that asks the device, and what the device
answers. Tables, stores, the decoder of messages and the gateway take it from the entry, so a new kind is one entry, a
sample in tests/commands.py and whoever asks for it. A name that is taken is refused when this module is imported.

Whoever is handed a kind that is not registered has no entry to go by: it is refused, and nothing reaches a device.

Pure: no sockets, no database. What is asked and answered may hold secrets.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from shared.protocol.v1 import Message, Text

__all__ = [
    "ANSWER_TOO_LARGE",
    "CONFIG_GET",
    "CONFIG_SET",
    "EPOCH_RESET",
    "KINDS",
    "RESTART",
    "ConfigGetResponse",
    "ConfigSet",
    "ConfigSetResponse",
    "EpochReset",
    "Kind",
    "Nothing",
    "Request",
    "Response",
    "RestartResponse",
]

ANSWER_TOO_LARGE: Final = "the device's answer is larger than 1 MiB"


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked, as it stands in the command's row. A field that the gateway does not know may change what is
    meant, so the command is refused.
    """


class Response(Message):
    """A device's answer to the request whose id it carries; ok: whether it does what was asked."""

    request_id: Text
    ok: bool
    error: str | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of command.

    name: in rows, in metrics and in the log. request: what stands in its row. message: the kind of the message that
    asks the device, whose fields are those of the request. response: the device's answer. With neither, no device
    answers it, and the gateway's session knows how it is carried out (gateway/session.py). changes: whether a device
    may be another one afterwards, so that operators are told who asked and what came of it.
    """

    name: str
    request: type[Request]
    message: str | None = None
    response: type[Response] | None = None
    changes: bool = True

    def encode(self, request_id: UUID, request: Request) -> bytes:
        """Return the message to the device."""
        # Unlike orjson, msgspec writes whole numbers of any size.
        return msgspec.json.encode(
            {"kind": self.message, "request_id": request_id, **msgspec.structs.asdict(request)}
        )


# By name. Nobody adds to it but the entries below.
KINDS: Final[dict[str, Kind]] = {}


def _registered(kind: Kind) -> Kind:
    """Return the kind, which has its entry from here on."""
    if kind.name in KINDS:
        raise ValueError(f"there are two commands of the kind {kind.name}")
    if (kind.message is None) != (kind.response is None):
        raise ValueError(
            f"{kind.name}: a message to a device has a response, and what has none sends no message"
        )
    KINDS[kind.name] = kind
    return kind


class Nothing(Request):
    """A request that says all by its kind."""


class EpochReset(Request):
    """Which reader is to number from 1 again, in a fresh epoch; expected_epoch: only out of that one. race_id: the race
    that the fresh epoch is of.
    """

    stream_id: UUID
    reader_ip: str
    expected_epoch: int | None = None
    race_id: UUID | None = None


EPOCH_RESET: Final = _registered(Kind("epoch_reset", EpochReset))


class ConfigGetResponse(Response, tag="config_get_response"):
    """A forwarder's answer to config_get_request."""

    config: msgspec.Raw = msgspec.Raw(b"null")
    restart_needed: bool = False


CONFIG_GET: Final = _registered(
    Kind("config_get", Nothing, "config_get_request", ConfigGetResponse, changes=False)
)


class ConfigSet(Request):
    """A section of a forwarder's configuration, as it is to be; payload: any JSON."""

    section: str
    payload: Any


class ConfigSetResponse(Response, tag="config_set_response"):
    """A forwarder's answer to config_set_request."""

    restart_needed: bool = False
    status_code: int | None = None


CONFIG_SET: Final = _registered(Kind("config_set", ConfigSet, "config_set_request", ConfigSetResponse))


class RestartResponse(Response, tag="restart_response"):
    """A forwarder's answer to restart_request."""


RESTART: Final = _registered(Kind("restart", Nothing, "restart_request", RestartResponse))
