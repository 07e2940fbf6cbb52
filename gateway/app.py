"""Puts the gateway together: one route, the sessions behind it, staging and ownership.

socket ─▶ Session ─▶ Batch ─▶ Staging ─COPY─▶ inbox ··· outcomes ─▶ Staging ─▶ Session ─▶ ack
"""

from aiohttp import WSCloseCode, web

from gateway import metrics
from gateway.ownership import Ownership
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.staging import Staging
from shared.errors import DatabaseUnavailable
from shared.peer import Peer, attend, close_all
from shared.presence import Vitals
from shared.process import Process
from shared.tokens import authenticate

__all__ = ["Gateway", "main"]

FORWARDERS_PATH = "/ws/v1/forwarders"


class Gateway:
    """The ingest process."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._peers: set[Peer] = set()
        self._process = Process(
            "gateway",
            settings,
            vitals=lambda: Vitals(connections=len(self._peers)),
            on_return=lambda: self._ownership.doubt(),  # noqa: PLW0108 (made below)
        )
        self._ownership = Ownership(self._process)
        self._staging = Staging(
            self._process,
            limit_bytes=settings.max_unacked_mib * 1024 * 1024,
            on_full=self._pause,
            on_room=self._resume,
        )

    async def run(self) -> None:
        """Live until a signal comes."""
        app = web.Application()
        app.router.add_get(FORWARDERS_PATH, self._connect)
        await self._process.run(
            app=app,
            before=self._staging.prepare,
            tasks={
                "staging": self._staging.run_staging,
                "collecting": self._staging.run_collecting,
                "ownership": self._ownership.run,
            },
            shut=lambda: close_all(list(self._peers), WSCloseCode.GOING_AWAY, "shutting down"),
        )

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade a forwarder. Without a database, or without room, it is told to come back (503)."""
        if self._process.stop.asked or self._process.presence.problem or self._staging.full:
            return _come_back()
        try:
            identity = await authenticate(
                self._process.pool, request.headers.get("Authorization"), "forwarder"
            )
        except DatabaseUnavailable:
            return _come_back()
        peer = Peer(request)
        await peer.accept()
        session = Session(peer, process=self._process, ownership=self._ownership, staging=self._staging)
        self._peers.add(peer)
        try:
            await attend(peer, lambda: session.run(identity))
        finally:
            self._peers.discard(peer)
        return peer.response

    def _pause(self) -> None:
        for peer in self._peers:
            peer.pause()

    def _resume(self) -> None:
        for peer in self._peers:
            peer.resume()


def _come_back() -> web.Response:
    metrics.REFUSED_UPGRADES.inc()
    return web.json_response(
        {"code": "UNAVAILABLE", "message": "come back in a few seconds"},
        status=503,
        headers={"Retry-After": "2"},
    )


async def main(settings: GatewaySettings) -> None:
    """Run a gateway."""
    await Gateway(settings).run()
