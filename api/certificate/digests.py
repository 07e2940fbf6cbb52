"""The digest of an epoch, which anyone can compute again of an export. Pure: no database.

    block b    the events with a number from 1000 b + 1 to 1000 (b + 1)
    digest     SHA-256 over, for each event by its number: the number (8 bytes, big-endian), the length of its line
               (4 bytes, big-endian), the line as exports carry it
    root       SHA-256 over the digests of the blocks in order, each behind its b (8 bytes, big-endian)

Blocks without events are left out. The database makes the digests of what it has (store/blocks.py); here they are
made of what somebody else has, and the root of either.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby

__all__ = ["BLOCK_EVENTS", "block_of", "digests", "root"]

BLOCK_EVENTS = 1000

_HEAD = struct.Struct(">QI")
_BLOCK = struct.Struct(">Q")


def block_of(seq: int) -> int:
    """Return the block that a number is in."""
    return (seq - 1) // BLOCK_EVENTS


def digests(events: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield each block with its digest, of numbers with their lines, in the order of the numbers."""
    for block, of_block in groupby(events, lambda event: block_of(event[0])):
        made = hashlib.sha256()
        for seq, line in of_block:
            made.update(_HEAD.pack(seq, len(line)) + line)
        yield block, made.digest()


def root(blocks: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the root of blocks with their digests, in order."""
    made = hashlib.sha256()
    for block, digest in blocks:
        made.update(_BLOCK.pack(block) + digest)
    return made.digest()
