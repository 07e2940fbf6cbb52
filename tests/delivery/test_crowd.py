"""Many receivers that come back at the same moment."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

import pytest

from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import READER, Wire, receiver
from tests.services import make_token

RECEIVERS = 120
STREAMS = [(f"mat-{number}", READER) for number in range(3)]
EVENTS = 2_000
LATER = 30
# All of them are one process here, which shares its cores with other tests: how long it takes is not the question.
PATIENCE_S = 200.0
READ = "rtserver_replay_pages_read_total"
TAILED = "rtserver_events_tailed_total"
DELIVERED = "rtserver_events_delivered_total"


async def come_back(url: str, token: str, cursors: list[int], go: asyncio.Event) -> list[int]:
    """Connect with a cursor for each stream, and return how many events of each came until a new one was there."""
    await go.wait()
    resume = [(name, 1, cursor) for name, cursor in zip(STREAMS, cursors, strict=True)]
    async with receiver(url, token, resume=resume, patience_s=PATIENCE_S) as wire:
        return await until_all_have_new(wire, cursors)


async def until_all_have_new(wire: Wire, cursors: list[int]) -> list[int]:
    """Take until each stream has brought more than there was at first, in order and without a gap."""
    last = {name: cursor for (name, _), cursor in zip(STREAMS, cursors, strict=True)}
    while min(last.values()) <= EVENTS:
        for event in await wire.take(1):
            assert event["seq"] == last[event["forwarder_id"]] + 1
            last[event["forwarder_id"]] = event["seq"]
    return [newest - cursor for newest, cursor in zip(last.values(), cursors, strict=True)]


@pytest.mark.timeout(300)
async def test_receivers_that_come_back_at_once_with_old_cursors_share_the_reading(
    standing: Standing,
) -> None:
    random = Random(11)
    ids = [await make_stream(standing.database, *name) for name in STREAMS]
    for stream_id in ids:
        await store_many(standing.database, stream_id, EVENTS)
    before = await standing.metric(READ)
    go = asyncio.Event()
    old = [[random.randrange(EVENTS) for _ in STREAMS] for _ in range(RECEIVERS)]
    tokens = [
        await make_token(standing.database, "receiver", f"tent-{number}") for number in range(RECEIVERS)
    ]
    coming = [
        asyncio.ensure_future(come_back(standing.url, token, cursors, go))
        for token, cursors in zip(tokens, old, strict=True)
    ]
    go.set()
    # What is stored while they come makes each one's horizon another one's.
    for seq in range(EVENTS + 1, EVENTS + 1 + LATER):
        for stream_id in ids:
            await store(standing.database, stream_id, [(1, seq, b"new")])
    counts = await asyncio.gather(*coming)
    pages = await standing.metric(READ) - before
    assert all(count > 0 for each in counts for count in each)
    # Two pages of each stream, and the short one at its end again and again while it grows, whoever asks: 96 and not
    # the 360 and more that they would be if each read its own.
    assert pages <= len(STREAMS) * (2 + LATER)


async def test_what_is_new_is_read_once_whoever_follows(standing: Standing) -> None:
    stream_id = await make_stream(standing.database, *STREAMS[0])
    await store_many(standing.database, stream_id, 1)
    tokens = [await make_token(standing.database, "receiver", f"tent-{number}") for number in range(20)]
    async with AsyncExitStack() as stack:
        wires = [
            await stack.enter_async_context(receiver(standing.url, token, STREAMS[0])) for token in tokens
        ]
        await asyncio.gather(*(wire.take(1) for wire in wires))
        tailed, delivered, read = [await standing.metric(name) for name in (TAILED, DELIVERED, READ)]
        for first in range(2, 102, 10):
            await store(standing.database, stream_id, [(1, seq, b"new") for seq in range(first, first + 10)])
        for got in await asyncio.gather(*(wire.identities(100) for wire in wires)):
            assert got == [(1, seq) for seq in range(2, 102)]
        assert await standing.metric(TAILED) - tailed == 100
        assert await standing.metric(DELIVERED) - delivered == 20 * 100
        assert await standing.metric(READ) == read
