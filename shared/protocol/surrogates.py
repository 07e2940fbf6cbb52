"""Half surrogates in JSON: escapes such as \\ud800 without their other half, which stand for no character. A text with
one cannot be taken; that it cannot must not hide what message it stands in. Pure.
"""

import re
from typing import Final

__all__ = ["without_half_surrogates"]

# Each message is looked through at once, and only one that could not be decoded.
_LONGEST: Final = 1024 * 1024
# Any escape, so that the second backslash of one is not taken for the first of another; a pair counts as one.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def without_half_surrogates(message: bytes) -> bytes | None:
    """Return a message with U+FFFD for each of them; None where it has none, or is very long."""
    if len(message) > _LONGEST:
        return None
    mended = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], message)
    return None if mended == message else mended
