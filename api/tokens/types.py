"""Tokens of devices."""

from uuid import UUID

from api.http.types import Answer, DeviceId, EventsPerSecond, Request, Secret, Time
from shared.transport.tokens import DeviceType

__all__ = [
    "MintedToken",
    "Token",
    "TokenPath",
    "TokenRequest",
    "Tokens",
]


class TokenPath(Request):
    """A token, by its id."""

    token_id: UUID


class TokenRequest(Request):
    """A token to be made for a device. Without `token` one is generated: 32 random bytes, base64url.

    events_per_second: what a receiver is sent at the most, 0 for no pause; without it, as the fanouts are set.
    """

    device_type: DeviceType
    device_id: DeviceId
    token: Secret | None = None
    events_per_second: EventsPerSecond | None = None


class MintedToken(Answer):
    """A new token: the only answer that ever shows it. warnings: what its maker should know of it."""

    token_id: UUID
    device_type: DeviceType
    device_id: str
    token: str
    warnings: list[str]


class Token(Answer):
    """What is known of a token, which is not the token itself."""

    token_id: UUID
    device_type: DeviceType
    device_id: str
    created_at: Time
    last_used_at: Time | None
    revoked_at: Time | None


class Tokens(Answer):
    """All tokens, revoked ones included, in order of creation."""

    tokens: list[Token]
