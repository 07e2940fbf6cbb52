"""The longest time for which one message of a device holds the gateway's event loop (ARCHITECTURE.md, Bounds)."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.blunt import CLOSE, PING, PONG, TEXT, blunt
from tests.failure.wire import frame, hello, read
from tests.gateway.conftest import Inside
from tests.stalls import AT_MOST_S, TRIES, stalls
from tests.waiting import wait_until

MIB = 1024 * 1024
MESSAGE_BYTES = 16 * MIB


def filled(event: bytes, frame: bytes = b'{"kind":"forwarder_event_batch","events":[%s]}') -> bytes:
    """Return a message of as many events as there is room for; %d in one stands for its number."""
    numbered = b"%d" in event
    count = (MESSAGE_BYTES - len(frame)) // (len(event) + (6 if numbered else 1))
    return frame % b",".join(event % seq if numbered else event for seq in range(1, count + 1))


REAL = json.dumps(
    {**read(0, "aa400000000123450a2a01123018455927a7"), "seq": 0, "forwarder_id": "fwd-0123456789abcdef"}
).encode()
FRAME = json.dumps(
    {**frame(0, b"aa400000000123450a2a01123018455927a7\r\n"), "seq": 0}, separators=(",", ":")
).encode()
SMALL = b'{"reader_ip":"r","stream_epoch":1,"seq":%d,"reader_timestamp":"","raw_read_line":"","read_type":""}'
IGNORED = b'{"kind":"forwarder_event_batch","session_id":%s,"events":[],"kind":"forwarder_event_batch"}'

# Made where one is sent: they are 300 MB together, and each process of the tests reads this file.
MESSAGES: dict[str, Callable[[], bytes]] = {
    "reads as they are": lambda: filled(REAL.replace(b'"seq": 0', b'"seq":%d')),
    "frames as they are": lambda: filled(FRAME.replace(b'"seq":0', b'"seq":%d')),
    "frames of the longest lines": lambda: filled(
        SMALL.replace(b'"raw_read_line":""', b'"raw_frame":[%s]' % (b"255," * 60_000 + b"255"))
    ),
    "as many frames as possible": lambda: filled(SMALL.replace(b'"raw_read_line":""', b'"raw_frame":[]')),
    "one frame": lambda: (
        filled(SMALL)[:44]
        + SMALL[:-1].replace(b'"raw_read_line":""', b'"raw_frame":[%s]')
        % (1, b"0," * (MESSAGE_BYTES // 2 - 100) + b"0")
        + b"}]}"
    ),
    "a frame of large numbers": lambda: (
        filled(SMALL)[:44]
        + SMALL[:-1].replace(b'"raw_read_line":""', b'"raw_frame":[%s]')
        % (1, (b"9" * 4_000 + b",") * (MESSAGE_BYTES // 4_001 - 100) + b"0")
        + b"}]}"
    ),
    "as many reads as possible": lambda: filled(SMALL),
    "reads of the longest lines": lambda: filled(SMALL.replace(b'line":""', b'line":"%s"' % (b"x" * 60_000))),
    "lines that look like the ends of reads": lambda: filled(SMALL.replace(b'line":""', b'line":"},{"')),
    "the same read again and again": lambda: filled(SMALL.replace(b"%d", b"1")),
    "as many epochs as possible": lambda: filled(SMALL.replace(b'epoch":1,"seq":%d', b'epoch":%d,"seq":1')),
    "nested lists in a field that is ignored": lambda: (
        IGNORED % (b"[" + (b"[" * 900 + b"]" * 900 + b",") * (MESSAGE_BYTES // 1801 - 1) + b"0]")
    ),
    "small lists in a field that is ignored": lambda: (
        IGNORED % (b"[" + b"[]," * (MESSAGE_BYTES // 3 - 100) + b"0]")
    ),
    "one read with a field that is ignored": lambda: (
        filled(SMALL)[:44] + SMALL[:-1] % 1 + b',"x":[' + b"{}," * (MESSAGE_BYTES // 3 - 100) + b"0]}]}"
    ),
    "a kind that we do not know": lambda: (
        b'{"x":[' + b"[]," * (MESSAGE_BYTES // 3 - 100) + b'0],"kind":"film"}'
    ),
    "a hello": lambda: b'{"kind":"forwarder_hello","reader_ips":[' + b'"",' * (MIB // 3 - 100) + b'""]}',
    "a hello of one name": lambda: b'{"kind":"forwarder_hello","reader_ips":["' + b"x" * (MIB - 100) + b'"]}',
    "numbers that are no reads": lambda: (
        b'{"kind":"forwarder_event_batch","events":[' + b"0," * (MESSAGE_BYTES // 2 - 100) + b"0]}"
    ),
    "an answer": lambda: (
        b'{"kind":"config_get_response","request_id":"","ok":true,"config":"'
        + b"\\n" * (MESSAGE_BYTES // 2 - 100)
        + b'"}'
    ),
}


def sent(inside: Inside, message: bytes) -> None:
    """Send a message and wait until it has been dealt with."""
    with blunt(inside.url, inside.token) as device:
        device.send(json.dumps(hello()).encode())
        device.until(TEXT)
        device.send(message)
        device.send(b"", PING)
        device.until(PONG, CLOSE)


@pytest.mark.parametrize("name", MESSAGES)
async def test_no_message_of_a_forwarder_holds_the_others_for_long(
    inside: Inside, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = MESSAGES[name]()
    assert len(message) <= MESSAGE_BYTES
    for _ in range(TRIES):
        with stalls(monkeypatch) as found:
            await asyncio.to_thread(sent, inside, message)
            await wait_until(lambda: not inside.gateway.staging.unstaged, what="all to be staged")
        if found.longest_s < AT_MOST_S:
            return
    assert found.longest_s < AT_MOST_S
