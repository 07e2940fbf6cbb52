"""The opaque cursors of pages: the key of a page's last row, as text that goes into a URL as it is."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from api.errors import ApiError

__all__ = ["decode_cursor", "encode_cursor"]

_NUMBER_BYTES = 8


def encode_cursor(*key: int) -> str:
    """Return the cursor of a key of numbers from 0 to 2^63-1."""
    packed = b"".join(number.to_bytes(_NUMBER_BYTES) for number in key)
    return urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(cursor: str, *, numbers: int) -> list[int]:
    """Return the key that a cursor of so many numbers stands for; ApiError when it is none of ours."""
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        packed = b""
    key = [int.from_bytes(packed[at : at + _NUMBER_BYTES]) for at in range(0, len(packed), _NUMBER_BYTES)]
    if len(packed) != numbers * _NUMBER_BYTES or max(key) >= 2**63:
        raise ApiError("BAD_REQUEST", "query: `cursor` is none that this route has given out")
    return key
