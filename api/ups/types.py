"""Batteries of forwarders (UPS)."""

from api.http.types import Answer, Time
from shared.protocol.devices import UpsStatus

__all__ = ["ForwarderUps", "Ups", "UpsStatus"]


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
