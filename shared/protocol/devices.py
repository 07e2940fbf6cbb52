"""What newer forwarders tell of their readers and their battery (protocol.md, section 4.7). Pure.

None of it is a read, so none of it may cost one: a message of these kinds that is not right is ignored and counted
(`UnusableMessage`), never a PROTOCOL_ERROR. What comes out as JSON can be stored as jsonb.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from shared.protocol.v1 import HIGHEST_SEQ, Message, Text

__all__ = [
    "DEVICE_MESSAGES",
    "DownloadState",
    "ForwarderUpsStatus",
    "LinkState",
    "ReaderDownloadProgress",
    "ReaderInfo",
    "ReaderInfoUpdate",
    "ReaderStatusUpdate",
    "UnusableMessage",
    "UpsStatus",
    "storable_info",
    "stored",
]

# A reader's info has some 300 bytes.
INFO_BYTES: Final = 16 * 1024

LinkState: TypeAlias = Literal["connected", "connecting", "disconnected"]
DownloadState: TypeAlias = Literal["downloading", "complete", "error", "idle"]

Octet = Annotated[int, Meta(ge=0, le=255)]
Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Whole = Annotated[int, Meta(ge=-HIGHEST_SEQ, le=HIGHEST_SEQ)]
Words = Annotated[str, Meta(max_length=2_000)]


class Hardware(msgspec.Struct, omit_defaults=True):
    """What a reader is made of."""

    fw_version: Text | None = None
    hw_code: Text | None = None
    reader_id: Text | None = None


class ReadMode(msgspec.Struct, omit_defaults=True):
    """How a reader reads."""

    mode: Text | None = None
    timeout: Octet | None = None


class Clock(msgspec.Struct, omit_defaults=True):
    """A reader's clock. drift_ms: the forwarder's clock minus the reader's, so positive where the reader is behind."""

    reader_clock: Text | None = None
    drift_ms: Whole | None = None


class ReaderInfo(msgspec.Struct, omit_defaults=True):
    """What a reader says of itself; what it did not say is None."""

    banner: Words | None = None
    hardware: Hardware | None = None
    config: ReadMode | None = None
    tto_enabled: bool | None = None
    clock: Clock | None = None
    estimated_stored_reads: Count | None = None
    recording: bool | None = None
    connect_failures: Octet | None = None


class ReaderStatusUpdate(Message, tag="reader_status_update"):
    """Whether a forwarder has its reader."""

    reader_ip: Text
    connected: bool


class ReaderInfoUpdate(Message, tag="reader_info_update"):
    """How the link to a reader stands, after each read; and what the reader is, every ten seconds."""

    reader_ip: Text
    state: LinkState
    reader_info: ReaderInfo | None = None


class ReaderDownloadProgress(Message, tag="reader_download_progress"):
    """How far a reader's memory has been read out."""

    reader_ip: Text
    state: DownloadState
    reads_received: Count
    progress: Count
    total: Count
    error: Words | None = None

    def progress_told(self) -> dict[str, object]:
        """Return what it says, without of which reader."""
        told = msgspec.structs.asdict(self)
        del told["reader_ip"]
        return told


class UpsStatus(msgspec.Struct):
    """A battery. sampled_at: the forwarder's clock, in milliseconds of Unix time."""

    battery_percent: Octet
    battery_voltage_mv: Annotated[int, Meta(ge=0, le=65_535)]
    charging: bool
    power_plugged: bool
    temperature_cdeg: Annotated[int, Meta(ge=-32_768, le=32_767)]
    sampled_at: Annotated[int, Meta(ge=0, le=HIGHEST_SEQ)]


class ForwarderUpsStatus(Message, tag="forwarder_ups_status"):
    """Whether a forwarder's UPS can be asked, and what it said last."""

    available: bool
    status: UpsStatus | None = None


class UnusableMessage(msgspec.Struct):
    """A message of one of these kinds that is not right."""

    kind: str


DEVICE_MESSAGES: Final[dict[str, type[Message]]] = {
    "reader_status_update": ReaderStatusUpdate,
    "reader_info_update": ReaderInfoUpdate,
    "reader_download_progress": ReaderDownloadProgress,
    "forwarder_ups_status": ForwarderUpsStatus,
}


def stored(value: object) -> str:
    """Return a value as JSON that jsonb takes: it has no NUL, with which readers may fill their texts up."""
    return msgspec.json.encode(value).replace(b"\\u0000", b"\\ufffd").decode()


def storable_info(info: object) -> str | None:
    """Return a reader's info, checked, as JSON; None when there is none, or it is not right or too large."""
    if isinstance(info, msgspec.Raw):
        info = _decoded(info)
    if not isinstance(info, ReaderInfo):
        return None
    text = stored(info)
    return text if len(text.encode()) <= INFO_BYTES else None


def _decoded(info: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(info, type=ReaderInfo | None)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
