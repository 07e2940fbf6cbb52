"""What operators can ask of forwarders: the one registry of commands (protocol.md, section 6).

A kind is an entry here and nothing else: what stands in its row, the message that asks the device, and what the device
answers. Tables, stores, the decoder of messages and the gateway take it from the entry, so a new kind is one entry, a
sample in tests/commands.py and whoever asks for it. A name that is taken is refused when this module is imported.

Whoever is handed a kind that is not registered has no entry to go by: it is refused, and nothing reaches a device.

How a command has ended stands in its row as `state`, and where it is not `done`, `answer` may say why:

- `refused` and `too_old`: the forwarder has sent a text in this session, so it is of the older generation, which would
  end its session for the message; nothing was written. `refused` and `clearing`: the reader clears its memory; nothing
  was written. `refused` alone: the gateway knows no such command.
- `lost` and `disconnected`: the session ended before the device answered. `lost` alone: no answer in time, or it was
  not written in time. Either way nobody knows.
- `busy`: too many commands wait for the forwarder. `absent`: the session is not there any more.
- `done`: the device has answered, and `answer` is what it said; JSON's null where it need not answer (`silent_after_s`)
  and has not.

expires_at of a row is until when a command may begin to be written to the socket. Whoever asks waits longer, by the
request's `answer_within_s`.

Pure: no sockets, no database. What is asked and answered may hold secrets.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from shared.protocol.devices import Octet
from shared.protocol.v1 import Message, Text

__all__ = [
    "ANSWER_TOO_LARGE",
    "CONFIG_GET",
    "CONFIG_SET",
    "EPOCH_RESET",
    "KINDS",
    "READER_CONTROL",
    "RESTART",
    "Action",
    "ClearRecords",
    "ConfigGetResponse",
    "ConfigSet",
    "ConfigSetResponse",
    "EpochReset",
    "GetInfo",
    "Kind",
    "Nothing",
    "ReaderControl",
    "ReaderControlResponse",
    "Reconnect",
    "Refresh",
    "Request",
    "Response",
    "RestartResponse",
    "SetReadMode",
    "SetRecording",
    "SetTto",
    "StartDownload",
    "StopDownload",
    "SyncClock",
    "Why",
    "decode_why",
    "encode_why",
]

# Why a command was not done, beside its state.
Why: TypeAlias = Literal["too_old", "clearing", "disconnected"]

ANSWER_TOO_LARGE: Final = "the device's answer is larger than 1 MiB"


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked, as it stands in the command's row. A field that the gateway does not know may change what is
    meant, so the command is refused.
    """

    @property
    def answer_within_s(self) -> float:
        """How long the device may take from the moment when it was written; 0: until the command's deadline."""
        return 0

    @property
    def silent_after_s(self) -> float | None:
        """How long an answer is waited for, where none means that it was taken; None: it must be answered."""
        return None


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


class GetInfo(msgspec.Struct, tag_field="type", tag="get_info", forbid_unknown_fields=True):
    """Tell what the reader is."""


class Refresh(msgspec.Struct, tag_field="type", tag="refresh", forbid_unknown_fields=True):
    """The same."""


class SyncClock(msgspec.Struct, tag_field="type", tag="sync_clock", forbid_unknown_fields=True):
    """Set the reader's clock; it is answered before that is done."""


class SetReadMode(msgspec.Struct, tag_field="type", tag="set_read_mode", forbid_unknown_fields=True):
    """Set how the reader reads."""

    mode: Literal["raw", "event", "fsls"]
    timeout: Octet


class SetTto(msgspec.Struct, tag_field="type", tag="set_tto", forbid_unknown_fields=True):
    """Let the reader report tags that have left, or not."""

    enabled: bool


class SetRecording(msgspec.Struct, tag_field="type", tag="set_recording", forbid_unknown_fields=True):
    """Let the reader record in its own memory, or not."""

    enabled: bool


class ClearRecords(msgspec.Struct, tag_field="type", tag="clear_records", forbid_unknown_fields=True):
    """Empty the reader's memory; it is answered before that is done, which leaves recording off and the mode raw."""


class StartDownload(msgspec.Struct, tag_field="type", tag="start_download", forbid_unknown_fields=True):
    """Read the reader's memory out: its reads come as new ones."""


class StopDownload(msgspec.Struct, tag_field="type", tag="stop_download", forbid_unknown_fields=True):
    """Read no more of it."""


class Reconnect(msgspec.Struct, tag_field="type", tag="reconnect", forbid_unknown_fields=True):
    """Connect to the reader anew; reads of that moment may be lost."""


Action: TypeAlias = (
    GetInfo
    | Refresh
    | SyncClock
    | SetReadMode
    | SetTto
    | SetRecording
    | ClearRecords
    | StartDownload
    | StopDownload
    | Reconnect
)


class ReaderControl(Request):
    """What a forwarder is to do with one of its readers."""

    reader_ip: Annotated[Text, msgspec.Meta(min_length=1)]
    action: Action

    @property
    def answer_within_s(self) -> float:
        """A mute reader is asked four times, two seconds each, in turn with what the forwarder asks by itself."""
        return 18.0 if isinstance(self.action, GetInfo | Refresh) else 10.0

    @property
    def silent_after_s(self) -> float | None:
        """What takes long is answered before it is done, and nobody waits for its end."""
        return 2.0 if isinstance(self.action, ClearRecords | StartDownload) else None


class ReaderControlResponse(Response, tag="reader_control_response", kw_only=True):
    """A forwarder's answer to reader_control_request. reader_info: what devices make of it (devices.storable_info)."""

    ok: bool = msgspec.field(name="success")
    reader_ip: Text = ""
    reader_info: msgspec.Raw = msgspec.Raw(b"null")


READER_CONTROL: Final = _registered(
    Kind("reader_control", ReaderControl, "reader_control_request", ReaderControlResponse)
)


class _Because(msgspec.Struct):
    """What `answer` holds where a command was not done."""

    why: Why | None = None


def encode_why(why: Why) -> bytes:
    """Return a reason as it stands in a command's row."""
    return msgspec.json.encode(_Because(why))


def decode_why(answer: bytes | None) -> Why | None:
    """Return the reason that stands in the row of a command that was not done; None when none does."""
    try:
        return msgspec.json.decode(answer or b"{}", type=_Because).why
    except (msgspec.DecodeError, UnicodeError):
        return None  # a gateway of a later release may know another
