"""What a link carries: whose timeline it shows, until when, and the proof that we have said so. Pure: no database, no
clock.

    base64url( version (1), expiry in seconds since 1970 (8), kind (1), subject, HMAC-SHA256 over all of it (32) )

Whoever has no secret can make none, nor change one: any other bit is another proof. There is one text for each link:
what decodes to the same bytes by another spelling is none.
"""

import binascii
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from api.search.types import ChipPath, PersonPath

__all__ = ["LONGEST", "VERSION", "Claim", "opened", "sealed"]

Subject: TypeAlias = PersonPath | ChipPath

# Of a chip of 64 characters of 4 bytes each.
LONGEST = 400
VERSION, _PERSON, _CHIP = 1, 1, 2
_HEAD = struct.Struct(">BQB")
_RACE_AND_BIB = struct.Struct(">16sI")
_PROOF_BYTES = 32


class Claim(NamedTuple):
    """Whose timeline may be seen, until when."""

    subject: Subject
    expires_at: datetime


def sealed(claim: Claim, secret: bytes) -> str:
    """Return the text of a link. Its expiry is of whole seconds."""
    match claim.subject:
        case PersonPath(race_id=race_id, bib=bib):
            kind, subject = _PERSON, _RACE_AND_BIB.pack(race_id.bytes, bib)
        case ChipPath(chip_id=chip_id):
            kind, subject = _CHIP, chip_id.encode()
    said = _HEAD.pack(VERSION, int(claim.expires_at.timestamp()), kind) + subject
    return _text(said + _proof(said, secret))


def opened(text: str, secret: bytes) -> Claim | None:
    """Return what a link says, expired or not; None: it is none, was changed, or was made with another secret."""
    if len(text) > LONGEST or not text.isascii():
        return None
    try:
        held = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    said, proof = held[:-_PROOF_BYTES], held[-_PROOF_BYTES:]
    # In constant time: how far a guess is right must not be told by how long the answer takes.
    if not hmac.compare_digest(proof, _proof(said, secret)) or _text(held) != text:
        return None
    return _claim(said)


def _claim(said: bytes) -> Claim | None:
    """Return what was proven to be ours; None: by another release, in a form that this one does not know."""
    if said[0] != VERSION:
        return None
    _, expires_s, kind = _HEAD.unpack_from(said)
    expires_at, subject = datetime.fromtimestamp(expires_s, UTC), said[_HEAD.size :]
    if kind == _CHIP:
        return Claim(ChipPath(chip_id=subject.decode()), expires_at)
    race, bib = _RACE_AND_BIB.unpack(subject)
    return Claim(PersonPath(race_id=UUID(bytes=race), bib=bib), expires_at)


def _proof(said: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, said, "sha256")


def _text(held: bytes) -> str:
    return urlsafe_b64encode(held).rstrip(b"=").decode()
