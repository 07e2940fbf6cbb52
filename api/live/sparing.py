"""What receivers are told of streams: each of these events has one of the field ask for the whole list of streams, and
it coalesces nothing, so of those that come together it gets the last, and no more than one a second. Pure.
"""

from typing import Final

__all__ = ["EVERY_S", "spared"]

EVERY_S: Final = 1.0

_STREAMS = (b"stream_created", b"stream_updated", b"resync")


def spared(chunk: bytes) -> tuple[bytes, bool]:
    """Return messages of an event stream without those that say the same to a receiver again, and whether one is left
    that has it ask for the streams. A resync says more than the others, so it is the one that is kept.
    """
    messages = chunk.split(b"\n\n")
    asking = [n for n, message in enumerate(messages) if _name(message) in _STREAMS]
    if not asking:
        return chunk, False
    resyncs = [n for n in asking if _name(messages[n]) == b"resync"]
    kept = (resyncs or asking)[-1]
    left = [message for n, message in enumerate(messages) if n == kept or n not in asking]
    return b"\n\n".join(left), True


def _name(message: bytes) -> bytes:
    return message.partition(b"event: ")[2].partition(b"\n")[0]
