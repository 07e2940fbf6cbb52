"""Accepts devices of one type: the upgrade, the token, and everything that concerns all their sockets at once.

A device that cannot be served now is answered before the upgrade, the one refusal after which devices in the field
wait a while (protocol.md, section 1.4): 503 when nobody can be, of which the reverse proxy takes note and asks another
process; 429 when it is this device alone that has to wait. A token that is not right is told to the device at once.
Tokens that are revoked while their device is connected end its sessions, on whichever process they are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import ceil
from typing import TypeAlias
from uuid import UUID

from aiohttp import WSCloseCode, web

from shared.db.channels import TOKENS
from shared.db.errors import DatabaseUnavailable
from shared.errors import ProtocolError
from shared.log import get_logger
from shared.metrics import BRAKED_UPGRADES, REFUSED_UPGRADES
from shared.protocol.decoding import RECEIVER_BYTES
from shared.runtime.process import Process
from shared.runtime.tasks import Tasks
from shared.transport.account import Account
from shared.transport.attending import attend, close_all
from shared.transport.connection import CLOSE_WITHIN_S, DeviceConnection
from shared.transport.tokens import DeviceType, Identity, authenticate, revoked_among

__all__ = ["Acceptor"]

Serve: TypeAlias = Callable[[DeviceConnection, Identity], Awaitable[None]]

# How soon a revocation is noticed whose notification was lost.
POLL_S = 2.0
MESSAGE_BYTES: Mapping[DeviceType, int] = {"forwarder": 16 * 1024 * 1024, "receiver": RECEIVER_BYTES}
ACCOUNT_BYTES = 64 * 1024 * 1024
# A fleet that comes back at once is smaller. Of one token: a device that reboots, its half-open connection, its twin.
WITHOUT_HELLO = 1_000
WITHOUT_HELLO_OF_ONE = 8
# How much is read of those without a good token, and how many there may be at once.
REFUSED_BYTES = 64 * 1024
REFUSED_AT_ONCE = 100
# Sessions of a receiver, and how soon a living one answers a ping.
SESSIONS_OF_ONE = 8
PROBE_S = 2.0

log = get_logger(__name__)


class Acceptor:
    """The open sockets of a process, and the way to become one.

    serve: lives as long as the device's session. account: what all its sockets may hold. braked_s: for how many seconds
    a token is not admitted yet.
    """

    def __init__(
        self,
        process: Process,
        device_type: DeviceType,
        serve: Serve,
        *,
        account: Account | None = None,
        braked_s: Callable[[UUID], float] = lambda _: 0.0,
    ) -> None:
        self._process = process
        self._device_type = device_type
        self._serve = serve
        self._braked_s = braked_s
        self._loop = process.loop("acceptor", self._look, poll_s=POLL_S)
        self._account = account or Account(ACCOUNT_BYTES)
        self._tasks = Tasks(stop_within_s=2 * CLOSE_WITHIN_S)
        self._probing = False  # whether sessions of a receiver are
        self._entering = 0  # whose token is being looked up
        self._connections: dict[DeviceConnection, Identity | None] = {}
        process.listener.on(TOKENS, lambda _: self._loop.wake())

    @property
    def connections(self) -> list[DeviceConnection]:
        """The sockets that are open now."""
        return list(self._connections)

    async def connect(
        self, request: web.Request, serve: Serve | None = None, *, message_bytes: int | None = None
    ) -> web.StreamResponse:
        """Upgrade a request and serve the device until its session ends, in another way than usual if `serve` says
        one, and with longer messages if `message_bytes` says so.
        """
        if not web.WebSocketResponse().can_prepare(request):
            raise web.HTTPBadRequest(reason="this is a WebSocket: ask for an upgrade to one")
        request.protocol.pause_reading()  # nobody has to say anything before our answer
        identity = await self._recognised(request)
        if isinstance(identity, web.Response):
            request.protocol.resume_reading()  # for the next request on this connection
            return identity
        at_most = message_bytes or MESSAGE_BYTES[self._device_type]
        connection = DeviceConnection(request, self._account, message_bytes=at_most)
        # From the last look at the bounds to here nothing is awaited, and from here on it counts. Before the upgrade is
        # answered: a stop that comes meanwhile closes it, too.
        self._connections[connection] = identity
        try:
            with self._account.socket():
                await self._serve_connection(connection, identity, serve or self._serve)
        finally:
            del self._connections[connection]
        return connection.response

    async def _recognised(self, request: web.Request) -> Identity | web.Response | None:
        """Return whose token it is, or what a device is answered that is not admitted."""
        if self._refuses():
            return _retry_later()
        # While its token is looked up nothing else says that it is there: a fleet that comes back would see no bound.
        self._entering += 1
        try:
            identity = await authenticate(
                self._process.pool, request.headers.get("Authorization"), self._device_type
            )
        except DatabaseUnavailable:
            return _retry_later()
        finally:
            self._entering -= 1
        refusal = self._refusal(identity)
        if refusal is None and identity is not None and self._device_type == "receiver":
            # It may take seconds: what has come meanwhile, a stop above all, is looked at again.
            refusal = await self._crowded(identity) or self._refusal(identity)
        return identity if refusal is None else refusal

    async def _crowded(self, newcomer: Identity) -> web.Response | None:
        """Return what one more session of a receiver is answered: there is room when one of those it has is dead.

        Never is a living one closed: boxes share tokens, and those of the first generation do not reconnect.
        """
        mine = self._sessions_of(newcomer)
        if len(mine) < SESSIONS_OF_ONE:
            return None
        if self._probing:
            return _full(len(mine))
        # One probe at a time: newcomers that come within its two seconds are refused, not each let the same sessions
        # be pinged.
        self._probing = True
        try:
            asked = [connection for connection in mine if connection.answers_pings]
            answers = await asyncio.gather(*(connection.answers(PROBE_S) for connection in asked))
        finally:
            self._probing = False
        dead = [connection for connection, answered in zip(asked, answers, strict=True) if not answered]
        for connection in dead:
            log.info("session_half_open", session_id=str(connection.session_id))
            # Their handlers end in a moment, and take them off the list themselves: the count below must not wait for
            # it.
            connection.abort()
        # Counted anew: while we asked others may have taken the places of some that have ended.
        living = len(set(self._sessions_of(newcomer)) - set(dead))
        return _full(living) if living >= SESSIONS_OF_ONE else None

    def _sessions_of(self, receiver: Identity) -> list[DeviceConnection]:
        """Return the connections of a receiver, by whichever of its tokens."""
        return [
            connection
            for connection, each in self._connections.items()
            if each and each.device_id == receiver.device_id
        ]

    async def _serve_connection(
        self, connection: DeviceConnection, identity: Identity | None, serve: Serve
    ) -> None:
        await connection.accept()
        if identity is None:
            connection.receive_no_more(REFUSED_BYTES)
        await attend(
            connection,
            lambda: self._attend(connection, identity, serve),
            on_refusal=lambda refusal: self._note_refusal(refusal, connection, identity),
        )

    def _refusal(self, identity: Identity | None) -> web.Response | None:
        """Return what a device is answered that is not admitted."""
        if (
            self._refuses()
        ):  # since we asked: on a stop the connections that there are get closed, and no others
            return _retry_later()
        if identity is None:
            # Not 503: whoever has no token could rest the whole process by it.
            refused = sum(each is None for each in self._connections.values())
            return _too_soon(1, "too many without a good token") if refused >= REFUSED_AT_ONCE else None
        if seconds := self._braked_s(identity.token_id):
            return _too_soon(seconds, "what it sent last was not right")
        waiting = sum(
            each == identity and not connection.admitted for connection, each in self._connections.items()
        )
        if waiting >= WITHOUT_HELLO_OF_ONE:
            return _too_soon(1, f"{waiting} connections of this token have said no hello yet")
        return None

    async def _attend(self, connection: DeviceConnection, identity: Identity | None, serve: Serve) -> None:
        if identity is None:
            raise ProtocolError("the token is missing, unknown or revoked", code="INVALID_TOKEN")
        await serve(connection, identity)

    def _note_refusal(
        self, refusal: ProtocolError, connection: DeviceConnection, identity: Identity | None
    ) -> None:
        """Tell operators. Who shows no good token is known by the address alone."""
        device_id = identity.device_id if identity else None
        self._process.activity.note(
            f"{self._device_type}_refused",
            level="warn",
            of=f"{device_id or connection.address} {refusal.code}",
            device_id=device_id,
            address=connection.address,
            code=refusal.code,
            reason=str(refusal),
        )

    def _refuses(self) -> bool:
        """Whether nobody can be admitted now."""
        return (
            self._process.stop.asked
            or self._process.presence.problem is not None
            or self._account.full
            or self._entering + sum(not connection.admitted for connection in self._connections)
            >= WITHOUT_HELLO
        )

    async def close(self) -> None:
        """End all sessions, because the process stops."""
        await close_all(self.connections, WSCloseCode.GOING_AWAY, "shutting down")

    async def run(self) -> None:
        """End the sessions of revoked tokens, until the process stops."""
        await self._tasks.during(self._loop.run())

    async def _look(self) -> None:
        # First, because it needs no database: whoever waits for the room waits for this.
        self._drop_slow()
        await self._end_revoked()

    def _drop_slow(self) -> None:
        """Make room where others wait for it."""
        for connection in self.connections if self._account.awaited else ():
            if connection.is_slow:
                log.info("connection_slow", session_id=str(connection.session_id), address=connection.address)
                # In a task: the close frame of one that takes nothing would keep the others' room for seconds.
                self._tasks.start(
                    "close",
                    connection.close(WSCloseCode.TRY_AGAIN_LATER, "too slow"),
                    session_id=str(connection.session_id),
                )

    async def _end_revoked(self) -> None:
        # Who enters while we ask was recognised before, perhaps by a token that is revoked by now: the next poll finds
        # it.
        held = {identity.token_id for identity in self._connections.values() if identity is not None}
        if not held:
            return
        revoked = await revoked_among(self._process.pool, held)
        ended = [
            connection
            for connection, each in self._connections.items()
            if each is not None and each.token_id in revoked
        ]
        if ended:
            log.info("tokens_revoked", sessions=len(ended))
            refusal = ProtocolError("the token was revoked", code="INVALID_TOKEN")
            # All at once: each takes seconds where its device takes nothing, and the next look waits for the slowest.
            await asyncio.gather(*(connection.refuse(refusal) for connection in ended))


def _retry_later() -> web.Response:
    REFUSED_UPGRADES.inc()
    return web.json_response(
        {"code": "UNAVAILABLE", "message": "come back in a few seconds"},
        status=503,
        headers={"Retry-After": "2"},
    )


def _full(sessions: int) -> web.Response:
    return _too_soon(PROBE_S, f"{sessions} sessions of this receiver are open here")


def _too_soon(seconds: float, why: str) -> web.Response:
    """Refuse one device: a 503 would rest the whole process at the reverse proxy, for all others as well."""
    BRAKED_UPGRADES.inc()
    wait = ceil(seconds)
    return web.json_response(
        {"code": "TOO_MANY_REQUESTS", "message": f"{why}; come back in {wait} s"},
        status=429,
        headers={"Retry-After": str(wait)},
    )
