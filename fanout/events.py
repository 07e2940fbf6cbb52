"""Events as they go out: encoded once for the node and generation (fanout/generation.py), joined once for all receivers
at the same place.

Pure: no socket, no database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

__all__ = [
    "BATCH_SUFFIX",
    "MESSAGE_BYTES",
    "Event",
    "Sent",
    "Slice",
    "batch_prefix",
    "fitting",
    "slice_of",
]

BATCH_SUFFIX = b"]}"
# A message takes no more events once it is so long; receivers in the field refuse a frame of 16 MiB.
MESSAGE_BYTES = 1024 * 1024


class Event(NamedTuple):
    """An event with its JSON, which is empty where a generation is not sent it; received_at names the batch that it
    came in (shared/trace.py).
    """

    position: int
    stream_epoch: int
    seq: int
    received_at: datetime
    json: bytes


class Sent(NamedTuple):
    """What a message holds of one epoch: its highest seq, and how many events it covers.

    named, shown: the highest seq and the number of those that the receiver is sent, which its ack will name: the others
    are covered by it as well. Sent(2, 130, 30, 128, 28): of epoch 2 the 30 events up to 130, of which the last two
    are for nobody of the receiver's generation.
    """

    stream_epoch: int
    last_seq: int
    event_count: int
    named: int
    shown: int


class Slice(NamedTuple):
    """Consecutive events of one stream, ready to be put into a message."""

    json: bytes
    event_count: int
    sent: tuple[Sent, ...]
    batches: tuple[datetime, ...]  # when the batches were received that the events came in


def fitting(events: Sequence[Event], limit: int) -> int:
    """Return how many of the first events a message takes: up to `limit` and MESSAGE_BYTES, at least one."""
    size = 0
    for count, event in enumerate(events[:limit]):
        size += len(event.json)
        if size > MESSAGE_BYTES:
            return max(count, 1)
    return min(limit, len(events))


def slice_of(events: Sequence[Event]) -> Slice:
    """Join events. Within an epoch the highest seq is what an ack must reach, whatever the order."""
    sent = _sent(events)
    shown = [event.json for event in events if event.json]
    if len(shown) < len(events):
        named = {each.stream_epoch: each for each in _sent([event for event in events if event.json])}
        sent = [_with_hidden(each, named.get(each.stream_epoch)) for each in sent]
    return Slice(
        b",".join(shown),
        len(shown),
        tuple(sent),
        tuple(dict.fromkeys([event.received_at for event in events])),
    )


def _sent(events: Sequence[Event]) -> list[Sent]:
    last: dict[int, int] = {}
    counts: dict[int, int] = {}
    for event in events:
        last[event.stream_epoch] = max(event.seq, last.get(event.stream_epoch, 0))
        counts[event.stream_epoch] = counts.get(event.stream_epoch, 0) + 1
    return [Sent(epoch, last[epoch], counts[epoch], last[epoch], counts[epoch]) for epoch in last]


def _with_hidden(sent: Sent, named: Sent | None) -> Sent:
    return (
        sent._replace(named=named.last_seq, shown=named.event_count)
        if named
        else sent._replace(named=0, shown=0)
    )


def batch_prefix(session_id: UUID) -> bytes:
    """Return what every receiver_event_batch of a session begins with; events and BATCH_SUFFIX follow."""
    empty = orjson.dumps({"kind": "receiver_event_batch", "session_id": session_id, "events": []})
    return empty.removesuffix(BATCH_SUFFIX)
