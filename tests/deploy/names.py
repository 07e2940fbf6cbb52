"""A name server of a test's own: names stand for whatever addresses the test says, as a container network's do."""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence

__all__ = ["NameServer"]

_A, _IN = 1, 1
_ANSWERED = 0x8180  # an answer, recursion desired and to be had


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for IPv4 addresses; `look_up` says what a name stands for at the moment."""

    def __init__(self, look_up: Callable[[str], Sequence[str] | None]) -> None:
        self._look_up = look_up
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, listening: socket.socket) -> None:
        """Answer what comes to a bound UDP socket."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=listening)

    def stop(self) -> None:
        """Listen no more."""
        if self._transport is not None:
            self._transport.close()

    @property
    def address(self) -> str:
        """Where it listens, host:port."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def datagram_received(self, question: bytes, sender: tuple[str, int]) -> None:
        """Answer one question."""
        assert self._transport is not None
        self._transport.sendto(self._answer(question), sender)

    def _answer(self, question: bytes) -> bytes:
        name, end = _read_name(question, 12)
        (kind,) = struct.unpack_from("!H", question, end)
        known = self._look_up(name.lower())
        addresses = known if known and kind == _A else []
        code = 0 if known else 3  # no such name
        head = question[:2] + struct.pack("!HHHHH", _ANSWERED | code, 1, len(addresses), 0, 0)
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", _A, _IN, 0, 4) + socket.inet_aton(address)
            for address in addresses
        ]
        return head + question[12 : end + 4] + b"".join(records)


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """Return the name that begins at `at`, and where it ends."""
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1
