"""What a gateway keeps of what comes in, before and after a device is admitted (ARCHITECTURE.md, Bounds)."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from shared.transport import acceptor, inlet
from tests.blunt import CLOSE, PING, PONG, TEXT, Blunt, blunt
from tests.failure.facts import Database, counts
from tests.failure.wire import READER, batch, connect, forwarder, hello, read
from tests.gateway.conftest import Inside
from tests.services import make_token
from tests.waiting import wait_until

MIB = 1024 * 1024
HELLO = json.dumps(hello()).encode()
BATCH = json.dumps(batch(read(1))).encode()

T = TypeVar("T")


async def on(inside: Inside, token: str | None, act: Callable[[Blunt], T], *, early: bytes = b"") -> T:
    """Do something with a blunt device, on a thread."""

    def run() -> T:
        with blunt(inside.url, token, early=early) as device:
            return act(device)

    return await asyncio.to_thread(run)


def kinds(texts: list[bytes]) -> list[str]:
    return [json.loads(text)["kind"] for text in texts]


def frame(payload: bytes) -> bytes:
    """A text frame as it goes over the wire, with a mask of zeros."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + payload


# --- before the hello ---


async def test_what_comes_with_a_bad_token_is_thrown_away_and_the_device_reads_why(inside: Inside) -> None:
    def talk(device: Blunt) -> tuple[list[bytes], int]:
        device.send(HELLO)
        device.send_head(16 * MIB)
        device.send_bytes(b"x" * 30_000)
        return device.ended()

    texts, code = await on(inside, "bad", talk)
    assert (json.loads(texts[0])["code"], len(texts), code) == ("INVALID_TOKEN", 1, 1008)
    await wait_until(lambda: inside.gateway.account.held == 0, what="the socket to be gone")


async def test_who_goes_on_sending_with_a_bad_token_is_dropped(inside: Inside) -> None:
    def flood(device: Blunt) -> int:
        device.send_head(16 * MIB)
        sent = 0
        try:
            while sent < 16 * MIB:
                device.send_bytes(b"x" * 65_536)
                sent += 65_536
        except OSError:
            pass
        return sent

    assert await on(inside, "bad", flood) < 16 * MIB
    await wait_until(lambda: not inside.gateway.acceptor.connections, what="the socket to be gone")


async def test_so_many_without_a_good_token_are_told_so_at_once_and_the_others_later(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "REFUSED_AT_ONCE", 1)

    def hold(device: Blunt) -> int:
        with blunt(inside.url, "bad") as second:
            return second.status

    assert await on(inside, "bad", hold) == 429
    async with forwarder(inside.url, inside.token):
        pass


async def test_the_connection_of_a_refused_upgrade_takes_the_next_request(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "WITHOUT_HELLO", 0)  # as a reverse proxy does that keeps its connections

    def ask_twice() -> list[int]:
        with blunt(inside.url, inside.token) as device:
            return [device.status, device.ask_again()]

    assert await asyncio.to_thread(ask_twice) == [503, 503]


async def test_a_hello_larger_than_a_mebibyte_is_refused_before_it_is_kept(inside: Inside) -> None:
    def talk(device: Blunt) -> tuple[list[bytes], int]:
        device.send_head(MIB + 1)
        return device.ended()

    assert await on(inside, inside.token, talk) == ([], 1009)


@pytest.mark.parametrize("early", [b"", frame(HELLO) + frame(BATCH)])
async def test_what_follows_a_hello_at_once_waits_for_it(
    inside: Inside, writer: object, early: bytes
) -> None:
    def talk(device: Blunt) -> list[bytes]:
        if not early:
            device.send_bytes(frame(HELLO) + frame(BATCH))
        return [device.until(TEXT)[1] for _ in range(2)]

    assert kinds(await on(inside, inside.token, talk, early=early)) == ["heartbeat", "forwarder_ack"]


async def test_sockets_that_say_no_hello_are_bounded_for_each_token_and_in_all(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "WITHOUT_HELLO_OF_ONE", 2)
    monkeypatch.setattr(acceptor, "WITHOUT_HELLO", 3)
    other, third = [await make_token(database, "forwarder", name) for name in ("other", "third")]

    def status(token: str) -> int:
        with blunt(inside.url, token) as device:
            return device.status

    async def status_of(token: str) -> int:
        return await asyncio.to_thread(status, token)

    async with connect(inside.url, inside.token), connect(inside.url, inside.token) as one:
        assert await status_of(inside.token) == 429
        async with connect(inside.url, other):
            assert await status_of(third) == 503
            await one.greet()
            assert await status_of(third) == 101


# --- messages that have not come whole ---


async def test_a_message_counts_from_its_head_on_and_what_has_no_service_waits(
    inside: Inside, database: Database, writer: object
) -> None:
    account = inside.gateway.account
    account.limit = 4 * MIB
    other = await make_token(database, "forwarder", "other")
    go_on = threading.Event()

    def unfinished(device: Blunt) -> list[bytes]:
        device.send(HELLO)
        device.until(TEXT)
        device.send_head(3 * MIB)
        go_on.wait(30)
        device.send_bytes(BATCH + b" " * (3 * MIB - len(BATCH)))
        return [device.until(TEXT)[1]]

    first = asyncio.create_task(on(inside, inside.token, unfinished))
    await wait_until(lambda: account.held > 3 * MIB, what="the message to count")
    async with forwarder(inside.url, other) as wire:
        sending = asyncio.create_task(wire.send(BATCH + b" " * (2 * MIB)))
        await wait_until(lambda: account.awaited, what="the second to wait")
        go_on.set()
        assert kinds(await first) == ["forwarder_ack"]
        await sending
        assert await wire.ack() == [(READER, 1, 1)]
    await wait_until(lambda: account.held == 0, what="all to be given back")
    assert (await counts(database)).events == 2


async def test_a_message_in_pieces_counts_for_the_longest_and_is_put_together(
    inside: Inside, writer: object
) -> None:
    account, counted = inside.gateway.account, []

    def talk(device: Blunt) -> list[bytes]:
        device.send(HELLO)
        device.until(TEXT)
        device.send(BATCH[:20], TEXT, last=False)
        device.send(b"?", PING)
        assert device.until(PONG)[1] == b"?"
        counted.append(account.held)
        device.send(b"", 0, last=False)
        device.send(BATCH[20:], 0)
        return [device.until(TEXT)[1]]

    assert kinds(await on(inside, inside.token, talk)) == ["forwarder_ack"]
    assert counted[0] >= 16 * MIB
    await wait_until(lambda: account.held == 0, what="all to be given back")


async def test_pieces_that_are_too_large_together_are_refused(inside: Inside) -> None:
    def talk(device: Blunt) -> tuple[list[bytes], int]:
        device.send(HELLO)
        device.until(TEXT)
        device.send(b"x" * MIB, TEXT, last=False)
        device.send_head(15 * MIB + 1, 0)
        return device.ended()

    assert await on(inside, inside.token, talk) == ([], 1009)
    await wait_until(lambda: inside.gateway.account.held == 0, what="all to be given back")


async def test_heads_that_come_byte_by_byte_are_heads(inside: Inside, writer: object) -> None:
    def talk(device: Blunt) -> list[bytes]:
        for each in frame(HELLO) + frame(b"") + frame(BATCH):
            device.send_bytes(bytes([each]))
        return [device.until(TEXT)[1] for _ in range(2)]

    assert kinds(await on(inside, inside.token, talk))[0] == "heartbeat"


async def test_who_vanishes_in_the_middle_of_a_message_leaves_nothing_behind(inside: Inside) -> None:
    def talk(device: Blunt) -> None:
        device.send(HELLO)
        device.until(TEXT)
        device.send_head(MIB)
        device.send_bytes(b"x" * 1000)

    await on(inside, inside.token, talk)
    await wait_until(lambda: inside.gateway.account.held == 0, what="all to be given back")


async def test_a_slow_message_goes_when_others_wait_for_its_service(
    inside: Inside, database: Database, writer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inlet, "SLOW_AFTER_S", 0.1)
    inside.gateway.account.limit = 4 * MIB
    other = await make_token(database, "forwarder", "other")

    def slow(device: Blunt) -> tuple[list[bytes], int]:
        device.send(HELLO)
        device.until(TEXT)
        device.send_head(4 * MIB)
        device.send_bytes(b"x" * 1000)
        opcode, _ = device.until(CLOSE)
        return [], opcode

    async with forwarder(inside.url, other) as wire:
        going = asyncio.create_task(on(inside, inside.token, slow))
        await wait_until(lambda: inside.gateway.account.held > 4 * MIB, what="the message to count")
        await wire.send(BATCH + b" " * MIB)
        assert await wire.ack() == [(READER, 1, 1)]
    assert await going == ([], CLOSE)
