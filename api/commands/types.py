"""Commands to forwarders: what is asked of a device, and what it answers."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, field

from api.http.types import Answer, DeviceId, Name, Number, Request, Time

__all__ = [
    "ConfigAnswer",
    "ConfigQuery",
    "ConfigWritten",
    "ControlPath",
    "Controlled",
    "EpochReset",
    "ForwarderPath",
    "NewEpoch",
    "Payload",
    "RestartRequest",
    "Restarted",
    "SectionPath",
]

Fingerprint = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-f]*$")]
# Any JSON object: what it means is for the device to say.
Payload: TypeAlias = dict[str, Any]


class ForwarderPath(Request):
    """A forwarder, by its id."""

    forwarder_id: DeviceId


class SectionPath(Request):
    """A section of a forwarder's configuration."""

    forwarder_id: DeviceId
    section: Name


class ControlPath(Request):
    """What a forwarder is to do with itself: start its program or its machine anew, or switch its machine off."""

    forwarder_id: DeviceId
    action: Literal["restart-service", "restart-device", "shutdown-device"]


class EpochReset(Request):
    """Which epoch the stream has, as far as whoever asks knows; none: whichever it is."""

    expected_epoch: Number | None = None


class RestartRequest(Request):
    """Since when the forwarder is connected, as far as whoever asks knows: only that session is ended. None: whichever
    there is.
    """

    expected_connected_at: Time | None = None


class ConfigQuery(Request):
    """expected: the fingerprint of the section that was changed, as its configuration was read. If the device has
    another by now, nothing is written (409).
    """

    expected: Fingerprint | None = None


class NewEpoch(Answer):
    """The epoch that was commanded."""

    new_stream_epoch: Number


class ConfigAnswer(Answer):
    """A forwarder's configuration, as it says it, and a fingerprint of each of its sections."""

    ok: bool
    error: str | None = None
    config: Any = None
    restart_needed: bool = False
    fingerprints: dict[str, str] = field(default_factory=dict)


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


class Controlled(Answer):
    """What a forwarder says when it is told to do something with itself."""

    ok: bool
    error: str | None = None
