"""A device on a plain blocking socket, for a thread of its own: what it sends costs the test's event loop nothing, and
it may send what no library would."""

import base64
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["CLOSE", "PING", "PONG", "TEXT", "Blunt", "blunt"]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Blunt:
    """An upgraded socket; made by `blunt`. Masks are zeros."""

    def __init__(self, plain: socket.socket, request: bytes) -> None:
        self._plain = plain
        self._file = plain.makefile("rb")
        self._request = request
        self.status = self._head()

    def _head(self) -> int:
        status, length = int(self._file.readline().split()[1]), 0
        while header := self._file.readline().strip():
            name, value = header.lower().split(b":", 1)
            length = int(value) if name == b"content-length" else length
        self._file.read(length)
        return status

    def ask_again(self) -> int:
        """Ask for an upgrade once more, on the same connection, and return what comes of it."""
        self._plain.sendall(self._request)
        return self._head()

    def send(self, payload: bytes, opcode: int = TEXT, *, last: bool = True) -> None:
        """Send one frame."""
        self.send_head(len(payload), opcode, last=last)
        self._plain.sendall(payload)

    def send_head(self, length: int, opcode: int = TEXT, *, last: bool = True) -> None:
        """Send the head of a frame whose payload is to follow."""
        first = bytes([(0x80 if last else 0) | opcode])
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 65536:
            size = bytes([0x80 | 126]) + struct.pack("!H", length)
        else:
            size = bytes([0x80 | 127]) + struct.pack("!Q", length)
        self._plain.sendall(first + size + bytes(4))

    def send_bytes(self, some: bytes) -> None:
        """Send bytes as they are."""
        self._plain.sendall(some)

    def stop_waiting(self, after_s: float) -> None:
        """Raise TimeoutError when what is sent is not taken for so long."""
        self._plain.settimeout(after_s)

    def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; (CLOSE, b"") when the connection has ended without one."""
        head = self._file.read(2)
        if len(head) < 2:
            return CLOSE, b""
        length = head[1]
        if length == 126:
            length = struct.unpack("!H", self._file.read(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._file.read(8))[0]
        return head[0] & 15, self._file.read(length)

    def until(self, *opcodes: int) -> tuple[int, bytes]:
        """Return the next frame of one of these kinds."""
        while True:
            opcode, payload = self.frame()
            if opcode in opcodes:
                return opcode, payload
            if opcode == CLOSE:
                raise ConnectionError("the socket has ended")

    def ended(self) -> tuple[list[bytes], int]:
        """Read the connection to its end: the texts that came, and the code of the close frame (1006: none)."""
        texts: list[bytes] = []
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return texts, struct.unpack("!H", payload[:2])[0] if payload else 1006
            if opcode == TEXT:
                texts.append(payload)


@contextmanager
def blunt(
    url: str, token: str | None, path: str = "/ws/v1/forwarders", *, early: bytes = b""
) -> Iterator[Blunt]:
    """Open a socket and upgrade it; `status` is what came of that. early: sent right behind the request."""
    host, port = url.removeprefix("http://").split(":")
    authorization = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        plain.sendall(request.encode() + early)
        yield Blunt(plain, request.encode())
        with suppress(OSError):
            plain.shutdown(socket.SHUT_RDWR)
