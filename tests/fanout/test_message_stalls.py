"""The longest time for which one message of a receiver holds the fanout's event loop (ARCHITECTURE.md, Bounds)."""

import asyncio

import pytest

from shared.db.connections import Connection
from tests.blunt import CLOSE, PING, PONG, TEXT, blunt
from tests.fanout.conftest import running_inside
from tests.services import make_token
from tests.stalls import AT_MOST_S, TRIES, stalls

MESSAGE_BYTES = 2 * 1024 * 1024
LARGEST_BYTES = 16 * 1024 * 1024  # of the second generation, once its session is there
FIRST, SECOND = "/ws/v1/receivers", "/ws/v1.2/receivers"
HELLO = {
    FIRST: b'{"kind":"receiver_hello","receiver_id":"tent"}',
    SECOND: b'{"kind":"receiver_hello_v12","receiver_id":"tent","mode":{"mode":"live","streams":[]}}',
}
ENTRY = b'{"forwarder_id":"f","reader_ip":"r","stream_epoch":1,"last_seq":%d}'
NESTED = b"[" * 900 + b"]" * 900
# By name: the frame, and what fills it.
FILLED = {
    "more acks than it may have": (b'{"kind":"receiver_ack","entries":[%s]}', ENTRY % 1),
    "small lists in a field that is ignored": (
        b'{"kind":"receiver_ack","session_id":[%s],"entries":[]}',
        b"[]",
    ),
    "nested lists in a field that is ignored": (
        b'{"entries":[],"session_id":[%s],"kind":"receiver_ack"}',
        NESTED,
    ),
    "a kind that we do not know": (b'{"x":[%s],"kind":"receiver_film"}', NESTED),
    "small lists in a kind that we do not know": (b'{"x":[%s],"kind":"film"}', b"[]"),
    "small lists in what is asked": (
        b'{"x":[%s],"request_id":"q","kind":"receiver_proxy_streams_list_request"}',
        b"[]",
    ),
}


def filled(frame: bytes, each: bytes, *, up_to: int) -> bytes:
    """Return a message with as many of these in it as there is room for."""
    return frame % b",".join([each] * ((up_to - len(frame)) // (len(each) + 1)))


ACKS = b'{"kind":"receiver_ack","entries":[%s]}' % b",".join(ENTRY % seq for seq in range(10_000))
# Of what the second generation may send beyond two mebibytes the shorter is of no other kind.
LONGEST = {FIRST: MESSAGE_BYTES, SECOND: LARGEST_BYTES}
OF_NOTHING = "acks of nothing"


def message_of(path: str, name: str) -> bytes:
    """Make a message, where it is sent: all of them are 130 MB, and each process of the tests reads this file."""
    return ACKS if name == OF_NOTHING else filled(*FILLED[name], up_to=LONGEST[path])


def sent(url: str, token: str, path: str, message: bytes) -> None:
    """Send a message and wait until it has been dealt with."""
    with blunt(url, token, path) as device:
        device.send(HELLO[path])
        device.until(TEXT)
        device.send(message)
        device.send(b"", PING)
        device.until(PONG, CLOSE)


@pytest.mark.parametrize("name", [*FILLED, OF_NOTHING])
@pytest.mark.parametrize("path", LONGEST)
async def test_no_message_of_a_receiver_holds_the_others_for_long(
    database_url: str, database: Connection, path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, message = await make_token(database, "receiver", "tent"), message_of(path, name)
    async with running_inside(database_url) as url:
        for _ in range(TRIES):
            with stalls(monkeypatch) as found:
                await asyncio.to_thread(sent, url, token, path, message)
            if found.longest_s < AT_MOST_S:
                return
    assert found.longest_s < AT_MOST_S


async def test_a_receivers_message_of_more_than_two_mebibytes_is_refused_at_its_head(
    database_url: str, database: Connection
) -> None:
    token = await make_token(database, "receiver", "tent")

    def talk(url: str) -> int:
        with blunt(url, token, FIRST) as device:
            device.send(HELLO[FIRST])
            device.until(TEXT)
            device.send_head(MESSAGE_BYTES + 1)
            return device.ended()[1]

    async with running_inside(database_url) as url:
        assert await asyncio.to_thread(talk, url) == 1009
