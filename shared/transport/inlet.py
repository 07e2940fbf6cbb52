"""What comes in on a device's socket, frame by frame, before it is kept (protocol.md, sections 1.2 and 2.3).

It stands between the transport and aiohttp, which keeps an unfinished message in itself, out of sight. Here each frame
is looked at when its head has come, before any of its payload is passed on:

- binary messages mean nothing to us and are thrown away;
- a message that is too large is thrown away as it comes, and its connection closed;
- one that has no room in the account of the process waits at its head: nothing more is read;
- until the device is admitted only its first message is read;
- once the connection is being closed everything is thrown away but control frames: the device's own close frame must be
  read, and a socket that is closed on unread bytes is reset, so that the device never reads why.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from aiohttp.web_protocol import RequestHandler

from shared.transport.account import Account, Held

__all__ = ["FIRST_MESSAGE_BYTES", "Inlet"]

FIRST_MESSAGE_BYTES = 1024 * 1024
# Under way for so long and with less than so much a second, a message keeps others out that wait for its room.
SLOW_AFTER_S = 20.0
SLOW_BYTES_S = 32 * 1024
_CONTINUED, _BINARY = 0, 2
# What aiohttp is told so that whoever waits for a message looks around: a pong, which means nothing.
_WAKE = b"\x8a\x00"


class _Head(NamedTuple):
    """The head of a frame: its own length, and what it says. Control frames have opcodes from 8 on."""

    size: int
    last: bool
    opcode: int
    length: int


class Inlet(asyncio.Protocol):
    """A transport's protocol that passes on to aiohttp's what may come in."""

    def __init__(self, inner: RequestHandler, account: Account, *, limit: int) -> None:
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._account = account
        self._limit = limit  # once the device is admitted
        self._stash = b""  # what came and has not been looked at
        self._holding_back = True  # whether all that comes is stashed
        self._admitted = False  # whether the message at which we wait has room by now
        self._is_past_hello = False
        self._begun = 0  # messages, while not admitted
        self._frame = _Head(0, True, 0, 0)
        self._left = 0  # of the payload of that frame
        self._passing = True
        self._skipping = False  # a binary message that has not ended
        self._under_way: Held | None = None  # what is counted for the message under way
        self._under_way_since = 0.0
        self._got = 0  # bytes of it
        self._whole: deque[Held] = deque()  # what is counted for messages that aiohttp has, in their order
        self._thrown: int | None = None  # bytes thrown away since the connection is being closed
        self._throws_at_most = 0
        self._woken = False
        self.too_large = False
        self.received = asyncio.Event()
        self.received_at = self._loop.time()

    # --- what the connection wants ---

    @property
    def limit(self) -> int:
        """How long a message may be now."""
        return self._limit if self._is_past_hello else FIRST_MESSAGE_BYTES

    def install(self, transport: asyncio.Transport) -> None:
        """Stand before the transport; nothing is passed on until `start`."""
        # What came in one packet with the request, before the answer to it.
        self._stash, self._inner._message_tail = self._inner._message_tail, b""  # noqa: SLF001 (no other way)
        transport.set_protocol(self)

    def start(self) -> None:
        """Pass on what has come and what comes."""
        self._go_on()

    def admitted(self) -> None:
        """Take more than one message from now on, each of the full size."""
        self._is_past_hello = True
        # Its second message waits at its head for this and for nothing else.
        if self._holding_back and self._begun and not self._admitted:
            self._account.withdraw(self._has_room)
            self._go_on()

    def taken(self) -> None:
        """Count a message no more that aiohttp has handed over."""
        if self._whole:
            self._account.give_back(self._whole.popleft())

    @property
    def waiting(self) -> bool:
        """Whether nothing is read because what comes next has no room."""
        return self._holding_back

    def is_slow(self) -> bool:
        """Whether the message under way takes longer than others should wait for its room."""
        lasts_s = self._loop.time() - self._under_way_since
        return self._under_way is not None and lasts_s > SLOW_AFTER_S and self._got < lasts_s * SLOW_BYTES_S

    def throw_away(self, at_most: int) -> None:
        """Keep nothing more, because the connection is being closed; drop it after so many bytes."""
        if self._thrown is None:
            self._thrown, self._throws_at_most = 0, at_most
            # Nothing waits for room any more: what stands at its head is walked through, and thrown away. The device's
            # close frame may be behind it.
            self._account.withdraw(self._has_room)
            if self._holding_back:
                self._go_on()

    def end(self) -> None:
        """Give back all that is counted."""
        self.throw_away(FIRST_MESSAGE_BYTES)
        if self._under_way is not None:
            self._account.give_back(self._under_way)
            self._under_way = None
        while self._whole:
            self.taken()

    # --- what comes in ---

    def data_received(self, data: bytes) -> None:
        """Look at what has come."""
        self.received_at = self._loop.time()
        self.received.set()
        if self._holding_back:
            # The transport had this in hand already, or aiohttp has resumed it, as it does whenever a message is taken
            # from its queue. Paused again, the stash never grows beyond a read or two.
            self._stash += data
            self._inner.pause_reading()
            return
        if self._stash:
            data, self._stash = self._stash + data, b""
        self._walk(data)

    def _walk(self, data: bytes) -> None:
        """Go from head to head, and pass on what lies between."""
        start = at = 0
        while at < len(data):
            if not self._left:
                head = _head(data, at)
                if head is None or not self._begins(head):
                    # It waits with all that is behind it. What lies before it belongs to what was begun, and is passed
                    # on below.
                    self._stash = data[at:]
                    break
                if not self._passing:
                    self._pass_on(data[start:at])
                    self._wake_once()
                self._frame, self._left = head, head.length
                at += head.size
            step = min(self._left, len(data) - at)
            at, self._left = at + step, self._left - step
            if not self._passing:
                start = at
                self._throw(step)
            elif self._frame.opcode < 8:
                self._got += step
            if not self._left:
                self._ends()
        self._pass_on(data if at - start == len(data) else data[start:at])

    def _begins(self, head: _Head) -> bool:
        """Decide what becomes of a frame; false when it has to wait."""
        self._passing = True
        if head.opcode >= 8:
            return True
        if self.too_large or self._thrown is not None:
            self._passing = False
            return True
        if head.opcode == _BINARY or (self._skipping and head.opcode == _CONTINUED):
            self._passing, self._skipping = False, not head.last
            return True
        limit = self.limit
        if self._under_way is not None:  # a further part of it
            # Never held back: it has its room, and others may wait for the room that it gives back at its end.
            return self._fits(self._got + head.length, limit)
        if self._begun and not self._is_past_hello:
            self._hold_back()
            return False
        # Who does not say how long a message will be has room for the longest.
        return self._fits(head.length, limit) and self._has_begun(head.length if head.last else limit)

    def _fits(self, length: int, limit: int) -> bool:
        """Whether a message may be so long. True all the same: then it is thrown away."""
        if length > limit:
            self.too_large, self._passing = True, False
        return True

    def _wake_once(self) -> None:
        """Have the connection notice that a message is too large."""
        if self.too_large and not self._woken:
            self._woken = True
            self._pass_on(_WAKE)

    def _has_begun(self, size: int) -> bool:
        if self.too_large:
            return True
        held = Held(size, first=not self._is_past_hello)
        if not self._admitted and not self._account.admit(held, self._has_room):
            self._hold_back()
            return False
        # The room was counted when it was given (Account._look), just before this walk: asked for again it would be
        # counted twice.
        self._admitted = False
        self._begun += not self._is_past_hello
        self._under_way, self._under_way_since, self._got = held, self._loop.time(), 0
        return True

    def _ends(self) -> None:
        """A frame has come whole, and with it perhaps its message."""
        if self._passing and self._frame.opcode < 8 and self._frame.last and self._under_way is not None:
            self._whole.append(self._under_way)
            self._under_way = None

    def _throw(self, count: int) -> None:
        if self._thrown is not None:
            self._thrown += count
            if self._thrown > self._throws_at_most and self._inner.transport is not None:
                self._inner.transport.abort()

    def _pass_on(self, some: bytes) -> None:
        if some:
            self._inner.data_received(some)

    def _hold_back(self) -> None:
        self._holding_back = True
        self._inner.pause_reading()

    def _has_room(self) -> None:
        # Called by the account in a step of the loop of its own, never from within `_walk`.
        self._admitted = True
        self._go_on()

    def _go_on(self) -> None:
        # Before the walk, which may hold back again at the next head; reading goes on only if it has not.
        self._holding_back = False
        data, self._stash = self._stash, b""
        self._walk(data)
        if not self._holding_back:
            self._inner.resume_reading()

    # --- what else a transport says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the connection was made before."""

    def connection_lost(self, error: Exception | None) -> None:
        """Tell aiohttp; what it has is read to the end."""
        # A place in the account's queue is kept until the session has noticed, and calls `end`.
        self._inner.connection_lost(error)

    def eof_received(self) -> None:
        """Tell aiohttp."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """Tell aiohttp."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Tell aiohttp."""
        self._inner.resume_writing()


def _head(data: bytes, at: int) -> _Head | None:
    """Return the head of a frame that begins at `at`; None when it has not come whole."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    length, extended = second & 0x7F, {126: 2, 127: 8}.get(second & 0x7F, 0)
    size = 2 + extended + (4 if second & 0x80 else 0)
    if len(data) < at + size:
        return None
    if extended:
        length = int.from_bytes(data[at + 2 : at + 2 + extended], "big")
    return _Head(size, bool(first & 0x80), first & 0x0F, length)
