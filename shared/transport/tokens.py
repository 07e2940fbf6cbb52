"""Device tokens: of a token we keep only the SHA-256 of its bytes (protocol.md, section 1.1)."""

import hashlib
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = [
    "FIELD_RECEIVER_ID",
    "DeviceType",
    "Identity",
    "authenticate",
    "field_forwarder_id",
    "is_forwarder_id",
    "receiver_id",
    "revoked_among",
    "token_hash",
]

DeviceType = Literal["forwarder", "receiver"]

# What receivers of the first generation call themselves, all of them.
FIELD_RECEIVER_ID = "receiver-main"

_SCHEME = "bearer "
_FORWARDER_ID = re.compile(r"[A-Za-z0-9\-_.~]{1,255}")

_AUTHENTICATE = "SELECT token_id, device_id, events_per_second FROM identify_device($1, $2)"

_REVOKED = "SELECT token_id FROM device_tokens WHERE token_id = ANY($1::uuid[]) AND revoked_at IS NOT NULL"


class Identity(NamedTuple):
    """Who a device is, by its token; hellos that name `aliases` mean the same device.

    device_id: what we call it. name: what it is told that it is called. events_per_second: what a receiver is sent at
    the most, 0 for no pause, None for what is usual. A receiver of the first generation is, for example,
    Identity(…, "receiver-main.018f3c2a", {"", "receiver-main", …}, "receiver-main").
    """

    token_id: UUID
    device_id: str
    aliases: frozenset[str]
    name: str
    events_per_second: int | None = None


def token_hash(token: str) -> bytes:
    """Return what stands in the database for `token`: 32 bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def field_forwarder_id(token: str) -> str:
    """Return the id that forwarders in the field derive from their token (protocol.md, section 2.2)."""
    return "fwd-" + token_hash(token).hex()[:16]


def is_forwarder_id(device_id: str) -> bool:
    """Whether a forwarder may have this id."""
    return _FORWARDER_ID.fullmatch(device_id) is not None


def receiver_id(device_id: str, token_id: UUID) -> str:
    """Return what a receiver is called that shows this token.

    Every receiver of the first generation has the same id: there each token stands for a receiver of its own, with its
    own cursors, or two of them would share one record and each miss what the other has had (protocol.md, section 5.2).
    """
    return f"{device_id}.{str(token_id)[:8]}" if device_id == FIELD_RECEIVER_ID else device_id


async def authenticate(pool: Pool, authorization: str | None, device_type: DeviceType) -> Identity | None:
    """Return whom an Authorization header stands for; None for a token that is missing, unknown or not right.

    Raises DatabaseUnavailable.
    """
    if authorization is None or not authorization.lower().startswith(_SCHEME):
        return None
    token = authorization[len(_SCHEME) :].strip()
    with translated():
        row = await pool.fetchrow(_AUTHENTICATE, token_hash(token), device_type)
    if row is None or (device_type == "forwarder" and not is_forwarder_id(row["device_id"])):
        return None
    name = row["device_id"]
    alias = field_forwarder_id(token) if device_type == "forwarder" else FIELD_RECEIVER_ID
    device_id = receiver_id(name, row["token_id"]) if device_type == "receiver" else name
    aliases = frozenset({"", device_id, name, alias})
    return Identity(row["token_id"], device_id, aliases, name, row["events_per_second"])


async def revoked_among(pool: Pool, token_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the tokens that are revoked; raises DatabaseUnavailable."""
    with translated():
        return {row["token_id"] for row in await pool.fetch(_REVOKED, list(token_ids))}
