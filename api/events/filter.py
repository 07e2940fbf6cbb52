"""Which events of a stream are wanted: the FROM and WHERE of pages and of exports, along the primary key."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from api.events.types import EventFilter
from api.http.types import LARGEST

__all__ = ["WANTED", "Key", "arguments"]

# $1 stream; $2, $3 behind this key; $4, $5 up to this one; $6 tag; $7, $8 received since, until.
WANTED = """
FROM events
WHERE stream_id = $1
  AND (stream_epoch, seq) > ($2::bigint, $3::bigint)
  AND (stream_epoch, seq) <= ($4::bigint, $5::bigint)
  AND ($6::text IS NULL OR tag_id = lower($6::text))
  AND received_at >= coalesce($7::timestamptz, '-infinity')
  AND received_at <= coalesce($8::timestamptz, 'infinity')
"""


class Key(NamedTuple):
    """Where an event stands within its stream: Key(2, 130) is number 130 of epoch 2."""

    stream_epoch: int
    seq: int


def arguments(
    stream_id: UUID, wanted: EventFilter, *, order: Literal["asc", "desc"], after: Key | None
) -> Sequence[object]:
    """Return the arguments of WANTED: the part of the key's order that is looked at, and the filters."""
    low, high = Key(0, 0), Key(LARGEST, LARGEST)
    if wanted.epoch is not None:
        low, high = Key(wanted.epoch, 0), Key(wanted.epoch, LARGEST)
    if after is not None and order == "asc":
        low = max(low, after)
    elif after is not None:
        high = min(high, Key(after.stream_epoch, after.seq - 1))
    return stream_id, *low, *high, wanted.tag_id, wanted.since, wanted.until
