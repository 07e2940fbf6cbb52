"""Where devices of one type come in: the upgrade, the token, and everything that concerns all their sockets at once.

A device that cannot be served now is answered before the upgrade, the one refusal after which devices in the field
wait a while (protocol.md, section 1): 503 when nobody can be, of which the reverse proxy takes note and asks another
process; 429 when it is this device alone that has to wait. A token that is not right is told to the device at once.
Tokens that are revoked while their device is connected end its sessions, on whichever process they are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import TypeAlias
from uuid import UUID

from aiohttp import WSCloseCode, web

from shared.channels import TOKENS
from shared.errors import DatabaseUnavailable, ProtocolError
from shared.log import get_logger
from shared.metrics import BRAKED_UPGRADES, REFUSED_UPGRADES
from shared.peer import Peer, attend, close_all
from shared.process import Process
from shared.tokens import DeviceType, Identity, authenticate, revoked_among

__all__ = ["Door"]

Serve: TypeAlias = Callable[[Peer, Identity], Awaitable[None]]

# How soon a revocation is noticed whose bell was lost.
POLL_S = 2.0

log = get_logger(__name__)


class Door:
    """The open sockets of a process, and the way to become one.

    serve: lives as long as the device's session. braked_s: for how many seconds a token is not let in yet.
    """

    def __init__(
        self,
        process: Process,
        device_type: DeviceType,
        serve: Serve,
        *,
        braked_s: Callable[[UUID], float] = lambda _: 0.0,
    ) -> None:
        self._process = process
        self._device_type = device_type
        self._serve = serve
        self._braked_s = braked_s
        self._wake = process.stop.waker()
        self._tokens: dict[Peer, UUID | None] = {}
        self._paused = False
        process.listener.on(TOKENS, lambda _: self._wake.set())

    @property
    def peers(self) -> list[Peer]:
        """The sockets that are open now."""
        return list(self._tokens)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade a request and serve the device until its session ends."""
        if self._refuses():
            return _come_back()
        try:
            identity = await authenticate(
                self._process.pool, request.headers.get("Authorization"), self._device_type
            )
        except DatabaseUnavailable:
            return _come_back()
        if self._refuses():  # since we asked: on a stop the peers that there are get closed, and no others
            return _come_back()
        if identity is not None and (seconds := self._braked_s(identity.token_id)):
            return _too_soon(seconds)
        peer = Peer(request)
        await peer.accept()
        self._let_in(peer, identity)
        try:
            await attend(
                peer,
                lambda: self._attend(peer, identity),
                on_refusal=lambda refusal: self._note_refusal(refusal, peer, identity),
            )
        finally:
            del self._tokens[peer]
        return peer.response

    async def _attend(self, peer: Peer, identity: Identity | None) -> None:
        if identity is None:
            raise ProtocolError("the token is missing, unknown or revoked", code="INVALID_TOKEN")
        await self._serve(peer, identity)

    def _note_refusal(self, refusal: ProtocolError, peer: Peer, identity: Identity | None) -> None:
        """Tell operators. Who shows no good token is known by the address alone."""
        device_id = identity.device_id if identity else None
        self._process.activity.note(
            f"{self._device_type}_refused",
            level="warn",
            of=f"{device_id or peer.address} {refusal.code}",
            device_id=device_id,
            address=peer.address,
            code=refusal.code,
            reason=str(refusal),
        )

    def _refuses(self) -> bool:
        """Whether nobody can be let in now."""
        return self._process.stop.asked or self._process.presence.problem is not None or self._paused

    def _let_in(self, peer: Peer, identity: Identity | None) -> None:
        self._tokens[peer] = identity.token_id if identity else None
        if self._paused:
            peer.pause()

    def pause(self) -> None:
        """Read from no socket any more, and let nobody in."""
        self._paused = True
        for peer in self._tokens:
            peer.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        for peer in self._tokens:
            peer.resume()

    async def close(self) -> None:
        """End all sessions, because the process stops."""
        await close_all(self.peers, WSCloseCode.GOING_AWAY, "shutting down")

    async def run(self) -> None:
        """End the sessions of revoked tokens, until the process stops."""
        while not self._process.stop.asked:
            await self._wake.wait(at_most_s=POLL_S)
            try:
                await self._end_revoked()
            except DatabaseUnavailable as error:
                log.debug("revocations_unseen", error=str(error))

    async def _end_revoked(self) -> None:
        held = {token_id for token_id in self._tokens.values() if token_id is not None}
        if not held:
            return
        revoked = await revoked_among(self._process.pool, held)
        ended = [peer for peer, token_id in self._tokens.items() if token_id in revoked]
        if ended:
            log.info("tokens_revoked", sessions=len(ended))
            refusal = ProtocolError("the token was revoked", code="INVALID_TOKEN")
            await asyncio.gather(*(peer.refuse(refusal) for peer in ended))


def _come_back() -> web.Response:
    REFUSED_UPGRADES.inc()
    return web.json_response(
        {"code": "UNAVAILABLE", "message": "come back in a few seconds"},
        status=503,
        headers={"Retry-After": "2"},
    )


def _too_soon(seconds: float) -> web.Response:
    """Refuse one device: a 503 would rest the whole process at the reverse proxy, for all others as well."""
    BRAKED_UPGRADES.inc()
    wait = ceil(seconds)
    return web.json_response(
        {
            "code": "TOO_MANY_REQUESTS",
            "message": f"what it sent last was not right; let in again in {wait} s",
        },
        status=429,
        headers={"Retry-After": str(wait)},
    )
