"""How streams are called that hold what a reader's own memory had, and no connection of its forwarder brought: the
reader's name with `#memory` behind it. No device may call a reader so. The same in SQL: `is_memory`
(migrations/routines/memory.sql).
"""

__all__ = ["LONGEST_READER", "is_memory", "memory_of"]

SUFFIX = "#memory"
# What a reader may be called so that its memory has a name, too (deploy/docs/protocol.md, section 3: 255 characters).
LONGEST_READER = 255 - len(SUFFIX)


def memory_of(reader_ip: str) -> str:
    """Return what the stream of a reader's memory is called."""
    return reader_ip + SUFFIX


def is_memory(reader_ip: str) -> bool:
    """Whether a stream of this name holds what a reader's memory had."""
    return reader_ip.endswith(SUFFIX)
