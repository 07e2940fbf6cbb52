"""One device's socket, from the upgrade to the last close frame: the transport rules of protocol.md, sections 1
and 2, that forwarders and receivers share.

It never cancels or times out a send: a device that takes nothing is got rid of by aborting its transport, which
ends whatever waits on it. Devices are never offered compression and never dropped for mere silence: only for
not answering a ping while we were listening.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any
from uuid import UUID, uuid4

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from shared.errors import ConnectionGone, ProtocolError
from shared.log import get_logger
from shared.protocol.v1 import encode_error, encode_heartbeat
from shared.runtime.client_address import address_of
from shared.transport.account import Account
from shared.transport.inlet import Inlet

__all__ = ["ConnectionGone", "DeviceConnection", "NoHello"]

HEARTBEAT_EVERY_S = 30.0
PING_EVERY_S = 20.0
ANSWER_WITHIN_S = 30.0
CLOSE_WITHIN_S = 2.0
# Receivers in the field read nothing for 3 and 10 s after their hello.
UNRESPONSIVE_AFTER_HELLO_S = 15.0
# A device that reads takes what we send at once.
FLUSH_LOOK_S = 0.01
# Below a transport's low-water mark a send never waits.
NEVER_WAITS_BYTES = 16 * 1024

log = get_logger(__name__)


class NoHello(ProtocolError):
    """A device has not said who it is in time."""


class DeviceConnection:
    """A device's WebSocket. One task receives; any may send, whole messages in the order of the calls."""

    def __init__(self, request: web.Request, account: Account, *, message_bytes: int) -> None:
        self.session_id: UUID = uuid4()
        self.address = address_of(request)
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._message_bytes = message_bytes
        self._inlet = Inlet(request.protocol, account, limit=message_bytes)
        # What is too large is kept out before (shared/transport/inlet.py). Pings come to receive(). writer_limit 0:
        # every send waits while the transport's buffer is over its high-water mark (64 KiB); by default aiohttp looks
        # at that only once in a while.
        self._socket = web.WebSocketResponse(
            compress=False,
            autoping=False,
            max_msg_size=message_bytes + 1,
            decode_text=False,
            timeout=CLOSE_WITHIN_S,
            writer_limit=0,
        )
        self.on_pong: Callable[[bytes], object] = lambda _: None  # told of the payload of each pong
        self.on_too_large: Callable[[int], Awaitable[object]] = (
            _untold  # how long a message may be, where one is longer
        )
        self._receiving = False
        self._written = 0  # bytes of messages
        self.admitted = False
        # Receivers of the second generation try again for ever, but not after an error before their first heartbeat:
        # they are told only what will stay as it is (deploy/docs/protocol.md, section 12.1).
        self.withholds_passing_errors = False
        self._admitted_at = self._loop.time()

    @property
    def response(self) -> web.StreamResponse:
        """What the request's handler returns to aiohttp."""
        return self._socket

    @property
    def gone(self) -> bool:
        """Whether the socket is closed."""
        return self._socket.closed or self._request.transport is None

    async def accept(self) -> None:
        """Finish the upgrade."""
        # Before the answer: a device may send right behind its request. Held back until aiohttp, in `prepare`, has put
        # its reader of frames in place.
        if self._request.transport is not None:
            self._inlet.install(self._request.transport)
        await self._socket.prepare(self._request)
        self._inlet.start()

    def admit(self) -> None:
        """Take more than a hello from now on."""
        self.admitted = True
        self._admitted_at = self._loop.time()
        self._inlet.admitted()

    def receive_no_more(self, at_most: int) -> None:
        """Throw away what comes from now on; who sends more than so many bytes is dropped."""
        self._inlet.throw_away(at_most)

    async def receive(self) -> bytes | None:
        """Return the next text message, or None when the socket has ended. Ignores binary frames."""
        try:
            while True:
                message = await self._next()
                if message.type is WSMsgType.TEXT:
                    data: bytes = message.data
                    return data
                # Looked at before the kind: what wakes us for it is a pong.
                if self._inlet.too_large:
                    reason = f"a message may have {self._inlet.limit} bytes"
                    log.info("message_too_large", session_id=str(self.session_id), reason=reason)
                    # Before the close: the device may be back at once, with the same message.
                    await self.on_too_large(self._inlet.limit)
                    await self.close(WSCloseCode.MESSAGE_TOO_BIG, reason)
                    return None
                if message.type is WSMsgType.PING:
                    await self._pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self.on_pong(message.data)
                elif message.type is not WSMsgType.BINARY:
                    return None
        except (ConnectionGone, ConnectionError):
            return None

    async def _pong(self, payload: bytes) -> None:
        if self._unsent < NEVER_WAITS_BYTES:  # who takes nothing must not keep us from reading
            with suppress(ConnectionGone):  # what it sent before it went is read all the same
                await self._send(payload, WSMsgType.PONG)

    async def _next(self) -> WSMessage:
        """Return the next message of any kind."""
        self._receiving = True
        try:
            message = await self._socket.receive()
        finally:
            self._receiving = False
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self._inlet.taken()
        if self._inlet.waiting:
            self._request.protocol.pause_reading()  # taking a message from aiohttp's queue resumes it
        return message

    async def send(self, message: bytes) -> None:
        """Send a text message, waiting while the device takes none; ConnectionGone when it never will."""
        await self._send(message, WSMsgType.TEXT)

    async def ping(self, payload: bytes) -> None:
        """Send a ping behind all that was sent; the pong carries the payload (`on_pong`). ConnectionGone as with
        `send`."""
        await self._send(payload, WSMsgType.PING)

    async def _send(self, message: bytes, kind: WSMsgType) -> None:
        # Before the await: aiohttp writes the whole frame before it waits, so messages of several tasks never mix and
        # go out in the order of the calls.
        self._written += len(message)
        try:
            await self._socket.send_frame(message, kind)
        except (ConnectionError, RuntimeError) as error:
            raise ConnectionGone(str(error)) from error

    async def flush(self) -> None:
        """Wait until the kernel has taken everything that was sent; ConnectionGone when it never will."""
        while (transport := self._request.transport) is not None and not transport.is_closing():
            if not transport.get_write_buffer_size():
                return
            await asyncio.sleep(FLUSH_LOOK_S)
        raise ConnectionGone("the socket ended before it took everything")

    async def refuse(self, error: ProtocolError) -> None:
        """Send the error message and close: 1008, or 1011 when the fault is ours."""
        ours = error.code == "INTERNAL_ERROR"
        if not (self.withholds_passing_errors and (ours or isinstance(error, NoHello))):
            # Each of the two has a bound: a device that takes nothing costs a few seconds, and then its transport.
            await self._or_abort(self.send(encode_error(error.code, str(error))))
        await self.close(WSCloseCode.INTERNAL_ERROR if ours else WSCloseCode.POLICY_VIOLATION, error.code)

    async def close(self, code: int, reason: str) -> None:
        """End with a close frame; after CLOSE_WITHIN_S, by aborting the transport. Never raises."""
        self._inlet.throw_away(2 * self._message_bytes)  # but the answer to the close frame is read
        await self._or_abort(self._socket.close(code=code, message=reason.encode()[:120], drain=False))
        # aiohttp has closed the transport by now, which keeps itself until all of that is taken.
        if self._unsent:  # the transport would wait for ever to send it
            self._loop.call_later(CLOSE_WITHIN_S, self.abort)

    async def _or_abort(self, ending: Coroutine[Any, Any, object]) -> None:
        """Let last words take CLOSE_WITHIN_S and a bit, then drop the connection under them."""
        task = asyncio.ensure_future(ending)
        # The task itself is not cancelled: the abort ends what it waits for. One that does not even end then is left
        # behind.
        _, waiting = await asyncio.wait({task}, timeout=CLOSE_WITHIN_S + 1)
        if waiting:
            self.abort()
            await asyncio.wait({task}, timeout=1)
        error = task.exception() if task.done() and not task.cancelled() else None
        # A connection that is gone is no news; anything else is a fault of ours, which nobody else would see.
        if error is not None and not isinstance(error, ConnectionGone | ConnectionError | RuntimeError):
            log.error("task_failed", task="last words", session_id=str(self.session_id), exc_info=error)

    @property
    def is_slow(self) -> bool:
        """Whether what it sends takes longer than others should wait for its room."""
        return self._inlet.is_slow()

    def end(self) -> None:
        """Give back what is held for it."""
        self._inlet.end()

    @property
    def _listening(self) -> bool:
        """Whether we would receive what the device sends."""
        return self._receiving and not self._inlet.waiting

    def abort(self) -> None:
        """Drop the connection at once, whatever is under way on it."""
        if self._request.transport is not None:
            self._request.transport.abort()

    @property
    def answers_pings(self) -> bool:
        """Whether no answer to a ping says anything: devices read nothing for a while after their hello."""
        old_enough = self._loop.time() - self._admitted_at > UNRESPONSIVE_AFTER_HELLO_S
        return self.admitted and old_enough and not self._unsent

    async def answers(self, within_s: float) -> bool:
        """Ping the device and tell whether anything came from it within `within_s`, or it still takes what lies before
        the ping; who has taken all of that meanwhile is asked once more.

        A socket that we do not read at the moment (back-pressure) cannot prove anything: it counts as alive.
        """
        for _ in range(2):
            # Before the ping, and before the look at whether we listen: what comes from here on counts, be it the pong
            # or something that was on its way.
            self._inlet.received.clear()
            if not self._listening:
                return not self.gone
            # Before the ping, too, which its kernel takes whatever becomes of the device.
            waited, took = self._untaken > 0, self._taken
            try:
                await self._ping()
                async with asyncio.timeout(within_s):
                    await self._inlet.received.wait()
            except ConnectionGone:
                return False
            except TimeoutError:
                # Back-pressure may have begun since: then the answer waits unread, and proves nothing.
                if self.gone or not self._listening:
                    return not self.gone
                if not (waited and self._taken > took):
                    return False
                if not self._untaken:
                    continue  # it has the ping only now, or there was none
            return not self.gone
        return True

    async def stay_alive(self, device_id: str) -> None:
        """Send heartbeats and pings until the socket ends; drop a device that answers no ping.

        A ping has to wait behind what the device takes slowly: as long as it takes anything it is alive. While it takes
        nothing of that, what it sends is no sign that it would ever read an answer.
        """
        heartbeat = encode_heartbeat(self.session_id, device_id)
        began = self._loop.time()
        next_heartbeat, next_ping = began + HEARTBEAT_EVERY_S, began + PING_EVERY_S
        pinged_at: float | None = None
        waited, took = False, 0
        # What this sends is sent only where nothing waits: so it never waits in a send itself, and always comes back
        # here to see that a device has been silent for too long.
        while not self.gone:
            await asyncio.sleep(min(next_heartbeat, next_ping) - self._loop.time())
            now = self._loop.time()
            received = pinged_at is not None and self._inlet.received_at >= pinged_at
            # Either it has answered, or we have not been reading, and cannot know.
            if not self._unsent and (received or not self._listening):
                pinged_at = None
            # Something waited at the last look, and the device has taken of it since.
            if waited and self._taken > took:
                pinged_at = None
            waited, took = self._untaken > 0, self._taken
            if pinged_at is not None and now - pinged_at >= ANSWER_WITHIN_S:
                log.info("connection_silent", session_id=str(self.session_id), device_id=device_id)
                self.abort()
                return
            if now >= next_ping:
                # While an answer is owed we look each second, and ping anew where that is possible; the time counts
                # from the first ping.
                next_ping = now + (PING_EVERY_S if pinged_at is None else 1.0)
                pinged_at = pinged_at or now
                await self._ping()
            if now >= next_heartbeat:
                next_heartbeat = now + HEARTBEAT_EVERY_S
                if not self._unsent:
                    await self.send(heartbeat)

    @property
    def _taken(self) -> int:
        """How many bytes the device has taken, but for the heads of frames: while some wait, it grows only when the
        device takes any.
        """
        return self._written - self._untaken

    @property
    def _untaken(self) -> int:
        """How many bytes the device has not taken: our kernel holds megabytes for one that reads slowly."""
        return self._unsent + _in_kernel(self._request.transport)

    @property
    def _unsent(self) -> int:
        """How many bytes of earlier sends still wait for the device: more would only pile up behind them."""
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    async def _ping(self) -> None:
        if not self._unsent:
            await self._send(b"", WSMsgType.PING)


def _in_kernel(transport: asyncio.Transport | None) -> int:
    """Return how many bytes our kernel has taken for the device and the device's has not acknowledged; 0 where it does
    not say.
    """
    socket = transport.get_extra_info("socket") if transport is not None else None
    try:
        return int.from_bytes(ioctl(socket.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder) if socket else 0
    except (OSError, ValueError):  # another system, or closed
        return 0


async def _untold(_: int) -> None:
    pass
