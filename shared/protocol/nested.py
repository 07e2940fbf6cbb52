"""Messages that are nested deeper than the decoder goes, about a thousand levels; none of ours has ten. What they are
is read from how they begin, so that one costs itself and no session. Pure.
"""

import re
from typing import Final, NamedTuple

__all__ = ["Beginning", "beginning_of"]

_LENGTH: Final = 1024
_BLANKS: Final = rb"[ \t\r\n]*"
# A text without an escape: that of a kind has none, and an id with one is answered where its message can be read.
_TEXT: Final = rb'"([^"\\\x00-\x1f]{0,255})"'
_BEGINNING: Final = re.compile(
    rb'B\{B"kind"B:BTB,(?:B"request_id"B:BTB,)?'.replace(b"B", _BLANKS).replace(b"T", _TEXT)
)


class Beginning(NamedTuple):
    """The first fields of a message, where these are its kind and its request_id; None: the second is another. As
    Beginning("receiver_proxy_streams_request", "17").
    """

    kind: str
    request_id: str | None


def beginning_of(message: bytes) -> Beginning | None:
    """Return how a message begins; None where it begins with something else than its kind, as a simple text."""
    found = _BEGINNING.match(message[:_LENGTH])
    if found is None:
        return None
    try:
        return Beginning(found[1].decode(), None if found[2] is None else found[2].decode())
    except UnicodeDecodeError:
        return None
