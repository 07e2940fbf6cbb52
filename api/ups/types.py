"""Batteries of forwarders (UPS)."""

from typing import Any, TypeAlias

from api.http.types import Answer, Time

__all__ = ["ForwarderUps", "Ups", "UpsStatus"]

# As the device says it: what there is stands in http-api.md, section 5.6.
UpsStatus: TypeAlias = dict[str, Any]


class Ups(Answer):
    """A forwarder's battery. available: the forwarder is connected and reads it. status: the last that was told, at
    received_at; it stays when the battery, or the forwarder, is gone.
    """

    available: bool
    status: UpsStatus | None
    received_at: Time


class ForwarderUps(Answer):
    """The batteries of all forwarders that have told of one, by forwarder."""

    forwarder_ups: dict[str, Ups]
