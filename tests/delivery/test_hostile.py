"""Hostile and broken receivers: each hurts itself and nobody beside it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import READER, START, Wire, connect, cursors, receiver
from tests.services import make_token
from tests.waiting import stretched

# How long the well-behaved one may wait for an event beside all this, on a busy machine.
SOON_S = 5.0

SUBSCRIBE = {
    "kind": "receiver_subscribe",
    "session_id": "",
    "streams": [{"forwarder_id": "start", "reader_ip": READER}],
}
ACK = {"kind": "receiver_ack", "session_id": "", "entries": cursors((START, 1, 5))}
HELLO = {"kind": "receiver_hello", "receiver_id": "", "resume": cursors((START, 1, 5))}


@asynccontextmanager
async def well_behaved(standing: Standing, stream_id: UUID) -> AsyncIterator[None]:
    """A session of another receiver that must get each new event soon, in order, while this lasts."""
    seq = int(await standing.database.fetchval("SELECT max(seq) FROM events") or 0)
    token = await make_token(standing.database, "receiver", "good")
    over = asyncio.Event()

    async def watch(wire: Wire) -> int:
        now = seq
        while not over.is_set() or now == seq:
            now += 1
            await store(standing.database, stream_id, [(1, now, b"good")])
            assert await wire.identities(1, within_s=stretched(SOON_S)) == [(1, now)]
        return now - seq

    async with receiver(standing.url, token, resume=[(START, 1, seq)]) as wire:
        watching = asyncio.ensure_future(watch(wire))
        yield
        over.set()
        assert await watching > 0
        assert wire.open


def mutated(random: Random) -> bytes:
    """Return a message that is almost right."""
    message = json.loads(json.dumps(random.choice([SUBSCRIBE, ACK, HELLO])))
    odd: list[Any] = [
        None,
        True,
        -1,
        0,
        2**31,
        2**53,
        2**63,
        2**64,
        1.5,
        "",
        "a\0",
        "\ud800",
        "x" * 300,
        [],
        {},
        [[]],
        [None],
        [{}],
    ]
    target = message
    for _ in range(random.randint(0, 2)):
        inner = [
            each for each in target.values() if isinstance(each, list) and each and isinstance(each[0], dict)
        ]
        target = inner[0][0] if inner else target
    target[random.choice([*target, "other"])] = random.choice(odd)
    encoded = json.dumps(message).encode()
    cut = random.randrange(len(encoded))
    return random.choice(
        [encoded, encoded[:cut], encoded[:cut] + bytes([random.randrange(256)]) + encoded[cut:]]
    )


async def talks_nonsense(wire: Wire) -> None:
    await wire.greet()
    random = Random(wire.session_id)
    with suppress(ConnectionError):
        for _ in range(20):
            await wire.send(mutated(random))
    await wire.drop()


async def acks_everything_there_is(wire: Wire) -> None:
    await wire.greet()
    await wire.subscribe(START)
    for start in range(1, 50_001, 5_000):
        await wire.ack(*((START, epoch, 2**53 - 1) for epoch in range(start, start + 5_000)))
    await wire.all_received()


async def subscribes_to_all_the_world(wire: Wire) -> None:
    await wire.greet()
    for block in range(2):
        await wire.subscribe(*((f"nobody-{block}", str(number)) for number in range(6_000)))
    assert await wire.closed() == 1008


async def names_too_many(wire: Wire) -> None:
    await wire.greet()
    await wire.subscribe(*(("nobody", str(number)) for number in range(10_001)))
    assert await wire.closed() == 1008


async def sends_more_than_anyone_may(wire: Wire) -> None:
    await wire.greet()
    with suppress(ConnectionError):
        await wire.send(b'{"kind":"receiver_ack","entries":[],"x":"' + b"x" * (17 * 2**20) + b'"}')
    assert await wire.closed() in (1009, 1006)


async def never_reads_and_never_stops_asking(wire: Wire) -> None:
    await wire.greet()
    hello = json.dumps(HELLO).encode()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while True:
                await wire.send(hello)
                await wire.ping()


async def vanishes_in_the_middle(wire: Wire) -> None:
    await wire.greet(resume=[(START, 1, 0)])
    await wire.batch()
    await wire.drop()


HOSTILE: list[Callable[[Wire], Awaitable[None]]] = [
    talks_nonsense,
    acks_everything_there_is,
    subscribes_to_all_the_world,
    names_too_many,
    sends_more_than_anyone_may,
    never_reads_and_never_stops_asking,
    vanishes_in_the_middle,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda each: each.__name__)
async def test_a_hostile_receiver_disturbs_no_other(
    standing: Standing, hostile: Callable[[Wire], Awaitable[None]]
) -> None:
    stream_id = await make_stream(standing.database, *START)
    await store_many(standing.database, stream_id, 1_000)

    async def act() -> None:
        async with connect(standing.url, standing.token) as wire:
            await hostile(wire)

    async with well_behaved(standing, stream_id):
        await asyncio.gather(*(act() for _ in range(3)))
    cursors = await standing.database.fetch(
        "SELECT stream_epoch FROM receiver_cursors WHERE receiver_id = 'tent'"
    )
    assert {row["stream_epoch"] for row in cursors} <= {1}


NO_SOCKETS = [
    b"GET /ws/v1/receivers HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /ws/v1/receivers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("opening", NO_SOCKETS, ids=range(len(NO_SOCKETS)))
async def test_what_is_no_upgrade_disturbs_no_one(standing: Standing, opening: bytes) -> None:
    stream_id = await make_stream(standing.database, *START)
    async with well_behaved(standing, stream_id):
        _, writer = await asyncio.open_connection("127.0.0.1", standing.fanout.port)
        writer.write(opening)
        await writer.drain()
        writer.transport.abort()
    async with aiohttp.ClientSession() as http, http.get(f"{standing.url}/healthz") as answer:
        assert answer.status == 200


async def test_messages_of_a_newer_generation_are_ignored_and_counted(standing: Standing) -> None:
    before = await standing.metric("rtserver_unknown_messages_total")
    async with connect(standing.url, standing.token) as wire:
        await wire.greet()
        await wire.send({"kind": "receiver_mood", "mood": ["good"]})
        await wire.greet()
    assert await standing.metric("rtserver_unknown_messages_total") == before + 1
