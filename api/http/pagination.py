"""The opaque cursors of pages: the key of a page's last row, as text that goes into a URL as it is."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from api.http.types import LARGEST

__all__ = ["decode_cursor", "encode_cursor"]

_NUMBER_BYTES = 8


def encode_cursor(*key: int) -> str:
    """Return the cursor of a key of numbers from 0 to 2^63-1."""
    packed = b"".join(number.to_bytes(_NUMBER_BYTES) for number in key)
    return urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[int]:
    """Return the key that a cursor stands for, which types.py has checked: 11 characters for each 8 bytes,
    or 22 for 16. A number that is none of ours counts as the largest.
    """
    packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return [
        min(int.from_bytes(packed[at : at + _NUMBER_BYTES]), LARGEST)
        for at in range(0, len(packed), _NUMBER_BYTES)
    ]
