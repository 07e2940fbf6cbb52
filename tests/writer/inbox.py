"""Parts in the inbox, put there as a gateway does, and a drain as a writer does it."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from gateway.batch import Batch, split
from gateway.store import inbox as gateway_store
from shared.protocol.v1 import ReadEvent
from tests.failure.facts import Database
from writer import store

__all__ = ["GATEWAY", "add_stream", "drain", "empty_batch", "event", "outcomes", "put", "stage"]

GATEWAY = uuid4()
_part_ids = itertools.count(1)


def event(seq: int, line: str | bytes = "", *, epoch: int = 1) -> ReadEvent:
    """Return a read; a line of bytes is a frame."""
    return ReadEvent(
        reader_ip="r",
        stream_epoch=epoch,
        seq=seq,
        reader_timestamp=f"t{seq}",
        raw_read_line=None if isinstance(line, bytes) else line or f"line {seq}",
        raw_frame=line if isinstance(line, bytes) else None,
        read_type="raw",
    )


async def add_stream(database: Database, forwarder_id: str = "f") -> UUID:
    stream_id: UUID = await database.fetchval(
        "INSERT INTO streams (forwarder_id, reader_ip) VALUES ($1, 'r') RETURNING stream_id", forwarder_id
    )
    return stream_id


def empty_batch(stream_id: UUID, *, forwarder_id: str = "f", fence: int = 1) -> Batch:
    """Return an empty batch of the stream's forwarder."""
    return Batch(
        forwarder_id=forwarder_id,
        session_id=uuid4(),
        fence=fence,
        display_name=None,
        streams={"r": stream_id},
        batch_id=None,
        received_at=datetime.now(UTC),
        size=0,
        on_settled=lambda: None,
    )


async def stage(database: Database, batch: Batch, *, gateway_id: UUID = GATEWAY) -> list[int]:
    """Stage a batch and return the numbers of its parts."""
    parts = batch.parts
    for part in parts:
        part.part_id = next(_part_ids)
    await gateway_store.stage(database, gateway_id, parts)
    return [part.part_id for part in parts]


async def put(
    database: Database,
    stream_id: UUID,
    events: Iterable[ReadEvent],
    *,
    forwarder_id: str = "f",
    fence: int = 1,
    gateway_id: UUID = GATEWAY,
) -> list[int]:
    """Stage one batch of these events and return the numbers of its parts."""
    batch = empty_batch(stream_id, forwarder_id=forwarder_id, fence=fence)
    split(batch, events)
    return await stage(database, batch, gateway_id=gateway_id)


async def drain(
    database: Database, *, max_events: int = 5000, only: store.PartKey | None = None
) -> store.Drained | None:
    """Drain what can be had; None when there is nothing."""
    drained, _ = await store.drain(database, max_streams=500, max_events=max_events, only_part=only)
    return drained


async def outcomes(database: Database) -> dict[int, str]:
    """Return what became of parts, by their numbers."""
    rows = await database.fetch("SELECT outcome, part_ids FROM outcomes")
    return {part_id: row["outcome"] for row in rows for part_id in row["part_ids"]}
