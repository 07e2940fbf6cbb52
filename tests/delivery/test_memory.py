"""Every bound of a fanout is full at once, in the memory that compose gives it: it lives, and delivers on."""

import asyncio
import json
import resource
from contextlib import ExitStack, suppress

from shared.db.connections import Connection
from tests.blunt import TEXT, Blunt, blunt
from tests.delivery.conftest import NO_PAUSE, running_fanout
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import START, receiver
from tests.delivery.wire_v12 import PATH as SECOND
from tests.delivery.wire_v12 import live
from tests.deploy.compose import memory_of
from tests.services import make_token
from tests.waiting import wait_until

MIB = 1024 * 1024
PATH = "/ws/v1/receivers"
HELLO = json.dumps({"kind": "receiver_hello"}).encode()
# The last receiver is of the second generation.
RECEIVERS, SESSIONS, NAMES = 3, 8, 1_000
REQUESTS = 16
# As many streams with as long lines fill the windows of all tails, and the pages.
STREAMS, LINES, LINE = 80, 15, b"x" * 60_000


def subscribe(names: list[tuple[str, str]]) -> bytes:
    streams = [{"forwarder_id": forwarder, "reader_ip": reader} for forwarder, reader in names]
    return json.dumps({"kind": "receiver_subscribe", "streams": streams}).encode()


def begin(device: Blunt, names: list[tuple[str, str]]) -> None:
    """Say hello and follow these."""
    device.send(HELLO)
    device.until(TEXT)
    device.send(subscribe(names))


def begin_v12(device: Blunt, names: list[tuple[str, str]]) -> None:
    """Say hello, which follows these, and ask for as much at once as there may be; no api process answers."""
    device.send(json.dumps({"kind": "receiver_hello_v12", "receiver_id": "", "mode": live(*names)}).encode())
    device.until(TEXT)
    for number in range(REQUESTS):
        asked = {"kind": "receiver_proxy_streams_list_request", "request_id": f"{number}" + "i" * 200}
        device.send(json.dumps(asked).encode())


def crowd(
    stack: ExitStack, url: str, tokens: list[str], streams: list[tuple[str, str]]
) -> list[tuple[Blunt, int]]:
    """Open as many sessions as there may be, each with as many names as it may have; none reads what it is sent. Return
    them with the greatest length of a message of each.
    """
    devices: list[tuple[Blunt, int]] = []
    for number, token in enumerate(tokens * SESSIONS):
        second = token == tokens[-1]
        device: Blunt = stack.enter_context(blunt(url, token, path=SECOND if second else PATH))
        own = [(f"{number}-" + "n" * 200, str(reader)) for reader in range(NAMES - len(streams))]
        (begin_v12 if second else begin)(device, [*streams, *own])
        devices.append((device, (16 if second else 2) * MIB))
    return devices


def leave_unfinished(devices: list[tuple[Blunt, int]]) -> None:
    """Begin a message of the greatest length on each socket."""
    for device, length in devices:
        device.stop_waiting(0.2)
        # It is not read when there is no room, and those beyond the last tail have ended.
        with suppress(OSError):
            device.send_head(length)
            device.send_bytes(b"x" * (length // 2))


def answered(url: str, token: str) -> int:
    with blunt(url, token, path=PATH) as device:
        return device.status


async def test_a_fanout_lives_when_all_its_bounds_are_full(database_url: str, database: Connection) -> None:
    tokens = [await make_token(database, "receiver", f"r{number}") for number in range(RECEIVERS)]
    good = await make_token(database, "receiver", "good")
    names = [("long", str(number)) for number in range(STREAMS)]
    ids = [await make_stream(database, *name) for name in names]
    start = await make_stream(database, *START)
    await store_many(database, start, 500)
    async with running_fanout(database_url, MAX_IN_FLIGHT="100000", **NO_PAUSE) as fanout:
        resource.prlimit(fanout.pid, resource.RLIMIT_AS, (memory_of("fanout"),) * 2)
        with ExitStack() as sockets:
            devices = await asyncio.to_thread(crowd, sockets, fanout.url, tokens, names)

            async def full() -> bool:
                return (
                    await fanout.metric("rtserver_tails") >= 20_000 - NAMES
                )  # a session beyond ends, with its names

            await wait_until(full, what="as many tails as there may be")
            for stream_id in ids:
                await store(database, stream_id, [(1, seq, LINE) for seq in range(1, LINES + 1)])
            # Pages: one who begins now reads what the others have been sent.
            async with receiver(fanout.url, good, *names) as wire:
                await wire.take(STREAMS * LINES // 8)
            async with receiver(fanout.url, good, START) as wire:
                await wire.take(500)
                beginning = asyncio.create_task(asyncio.to_thread(leave_unfinished, devices))

                # Looked at meanwhile: what is begun may be read later, and whoever goes on too slowly is closed then.
                async def is_full() -> bool:
                    return await asyncio.to_thread(answered, fanout.url, good) == 503

                await wait_until(is_full, what="no room for one more")
                await beginning
                await fanout.ready()
                await store(database, start, [(1, 501, b"new")])
                assert await wire.identities(1) == [(1, 501)]
