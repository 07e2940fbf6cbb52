"""What is counted of a stream, as receivers are told it (deploy/docs/protocol.md, section 12.7). Pure."""

from dataclasses import asdict

import orjson

from fanout.sender import Saying
from fanout.store.stream_metrics import StreamMetrics
from shared.protocol.v1 import StreamRef

__all__ = ["say_metrics"]


def say_metrics(before: StreamMetrics | None, now: StreamMetrics) -> list[Saying]:
    """Say the numbers, where they are others."""
    if now == before:
        return []
    fields = asdict(now)
    position = fields.pop("position")
    message = orjson.dumps({"kind": "receiver_stream_metrics", **fields})
    ref = StreamRef(now.forwarder_id, now.reader_ip)
    return [Saying(("stream metrics", ref), message, ref, position, stream=ref)]
