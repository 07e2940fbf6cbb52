"""Decodes a long JSON array some elements at a time, at the speed of the decoder.

The decoder holds the interpreter for as long as it works, in a thread as well: who must not be stopped for longer than
a few milliseconds gives it little at once. Where one element ends and the next begins is guessed (a brace, a comma)
and then proven by decoding: a text that is cut inside of a string or of anything nested is no array once a bracket is
put behind it, and is decoded again with more. So what comes out is what decoding all at once would give.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

__all__ = ["pieces"]

T = TypeVar("T")

# In a text a quote is escaped, so that of what looks like this in one only its very end can be meant.
_BETWEEN = re.compile(rb"\}[ \t\n\r]*(,)[ \t\n\r]*\{[ \t\n\r]*\"")
# How many ends in a row may be wrong before more is decoded at once.
_GUESSES = 4


def pieces(array: memoryview, decode: Callable[[bytes], list[T]], *, at_once: int) -> Iterator[list[T]]:
    """Yield the elements of the text of an array of objects in their order, as many as `at_once` bytes hold, or one.

    array: well-formed, without blanks around it. Each step takes about as long as it takes to decode `at_once` bytes,
    but for an element that is longer itself; it may yield nothing. Raises what `decode` raises.
    """
    start, end, wrong = 1, len(array) - 1, 0
    look_from = at_once
    while start < end:
        found = _BETWEEN.search(array, min(look_from, end), end)
        cut = found.start(1) if found else end
        try:
            elements = decode(b"".join((b"[", array[start:cut], b"]")))
        except msgspec.ValidationError:
            raise  # what stands before a wrong end is right or wrong in itself
        except msgspec.DecodeError:
            if not found:
                raise
            wrong += 1
            look_from = cut if wrong % _GUESSES else 2 * cut - start
            yield []
        else:
            start, look_from, wrong = cut + 1, cut + at_once, 0
            yield elements
