"""What is counted of a stream, as receivers are told it (deploy/docs/protocol.md, section 12.7). Pure."""

from dataclasses import asdict

import orjson

from fanout.sender import Saying
from fanout.store.numbers import Numbers
from shared.protocol.v1 import StreamRef

__all__ = ["say_numbers"]


def say_numbers(before: Numbers | None, now: Numbers) -> list[Saying]:
    """Say the numbers, where they are others."""
    if now == before:
        return []
    fields = asdict(now)
    position = fields.pop("position")
    message = orjson.dumps({"kind": "receiver_stream_metrics", **fields})
    ref = StreamRef(now.forwarder_id, now.reader_ip)
    return [Saying(("numbers", ref), message, ref, position)]
