"""The longest time for which one message of a receiver holds the fanout's event loop (ARCHITECTURE.md, Bounds)."""

import asyncio
import json

import pytest

from shared.db.connections import Connection
from tests.blunt import CLOSE, PING, PONG, TEXT, blunt
from tests.fanout.conftest import running_inside
from tests.services import make_token
from tests.stalls import AT_MOST_S, TRIES, stalls

MESSAGE_BYTES = 2 * 1024 * 1024
HELLO = json.dumps({"kind": "receiver_hello", "receiver_id": "tent"}).encode()
ENTRY = b'{"forwarder_id":"f","reader_ip":"r","stream_epoch":1,"last_seq":%d}'
NESTED = b"[" * 900 + b"]" * 900


def filled(frame: bytes, each: bytes) -> bytes:
    """Return a message with as many of these in it as there is room for."""
    return frame % b",".join([each] * ((MESSAGE_BYTES - len(frame)) // (len(each) + 1)))


MESSAGES = {
    "acks of nothing": b'{"kind":"receiver_ack","entries":[%s]}'
    % b",".join(ENTRY % seq for seq in range(10_000)),
    "more acks than it may have": filled(b'{"kind":"receiver_ack","entries":[%s]}', ENTRY % 1),
    "small lists in a field that is ignored": filled(
        b'{"kind":"receiver_ack","session_id":[%s],"entries":[]}', b"[]"
    ),
    "nested lists in a field that is ignored": filled(
        b'{"entries":[],"session_id":[%s],"kind":"receiver_ack"}', NESTED
    ),
    "a kind that we do not know": filled(b'{"x":[%s],"kind":"receiver_film"}', NESTED),
}


def sent(url: str, token: str, message: bytes) -> None:
    """Send a message and wait until it has been dealt with."""
    with blunt(url, token, "/ws/v1/receivers") as device:
        device.send(HELLO)
        device.until(TEXT)
        device.send(message)
        device.send(b"", PING)
        device.until(PONG, CLOSE)


@pytest.mark.parametrize("name", MESSAGES)
async def test_no_message_of_a_receiver_holds_the_others_for_long(
    database_url: str, database: Connection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = MESSAGES[name]
    assert len(message) <= MESSAGE_BYTES
    token = await make_token(database, "receiver", "tent")
    async with running_inside(database_url) as url:
        for _ in range(TRIES):
            with stalls(monkeypatch) as found:
                await asyncio.to_thread(sent, url, token, message)
            if found.longest_s < AT_MOST_S:
                return
    assert found.longest_s < AT_MOST_S


async def test_a_receivers_message_of_more_than_two_mebibytes_is_refused_at_its_head(
    database_url: str, database: Connection
) -> None:
    token = await make_token(database, "receiver", "tent")

    def talk(url: str) -> int:
        with blunt(url, token, "/ws/v1/receivers") as device:
            device.send(HELLO)
            device.until(TEXT)
            device.send_head(MESSAGE_BYTES + 1)
            return device.ended()[1]

    async with running_inside(database_url) as url:
        assert await asyncio.to_thread(talk, url) == 1009
