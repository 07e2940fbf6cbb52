"""The signature of a certificate, and what of it is signed. Pure: no database, no clock.

Signed is the certificate without its field `signature`, as RFC 8785 (JCS) writes JSON: keys in order, no blanks,
UTF-8. All its numbers are whole, so any library of that standard writes the same bytes. The signature is Ed25519 (RFC
8032).
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["ALGORITHM", "canonical", "is_signed_by", "key_name", "public_half", "signature_of", "text"]

ALGORITHM: Final[Literal["Ed25519"]] = "Ed25519"


def key_name(public_key: bytes) -> str:
    """Return what a key is called: the first 128 bits of the SHA-256 of its public half. Nobody can make another key
    that is called the same.
    """
    return hashlib.sha256(public_key).hexdigest()[:32]


def public_half(secret: bytes) -> bytes:
    """Return the public half of a key."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def canonical(certificate: Mapping[str, Any]) -> bytes:
    """Return what of a certificate is signed."""
    signed = {name: value for name, value in certificate.items() if name != "signature"}
    return orjson.dumps(signed, option=orjson.OPT_SORT_KEYS)


def signature_of(certificate: Mapping[str, Any], secret: bytes) -> bytes:
    """Return the signature of a certificate."""
    return Ed25519PrivateKey.from_private_bytes(secret).sign(canonical(certificate))


def is_signed_by(certificate: Mapping[str, Any], signature: str, public_key: bytes) -> bool:
    """Whether a signature is of this certificate and of this key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(b64decode(signature), canonical(certificate))
    except (InvalidSignature, ValueError):
        return False
    return True


def text(value: bytes) -> str:
    """Return bytes as certificates have them."""
    return b64encode(value).decode()
