"""Commands to forwarders: what is asked of a device, and what it answers."""

from typing import Any, TypeAlias

from api.messages.types import Answer, DeviceId, Name, Number, Request

__all__ = [
    "ConfigAnswer",
    "ConfigWritten",
    "EpochReset",
    "ForwarderPath",
    "NewEpoch",
    "Payload",
    "Restarted",
    "SectionPath",
]

# Any JSON object: what it means is for the device to say.
Payload: TypeAlias = dict[str, Any]


class ForwarderPath(Request):
    """A forwarder, by its id."""

    forwarder_id: DeviceId


class SectionPath(Request):
    """A section of a forwarder's configuration."""

    forwarder_id: DeviceId
    section: Name


class EpochReset(Request):
    """Which epoch the stream has, as far as whoever asks knows; none: whichever it is."""

    expected_epoch: Number | None = None


class NewEpoch(Answer):
    """The epoch that was commanded."""

    new_stream_epoch: Number


class ConfigAnswer(Answer):
    """A forwarder's configuration, as it says it."""

    ok: bool
    error: str | None = None
    config: Any = None
    restart_needed: bool = False


class ConfigWritten(Answer):
    """What a forwarder says to a change of its configuration."""

    ok: bool
    error: str | None = None
    restart_needed: bool = False
    status_code: int | None = None


class Restarted(Answer):
    """What a forwarder says when it is told to restart."""

    ok: bool
    error: str | None = None
