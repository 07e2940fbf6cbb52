"""Puts the fanout together: one route, the sessions behind it, the node's tails, pages and cursors.

bell ─▶ Tails: one read ─▶ Tail (window) ─┬─▶ Session ─▶ receiver
                          Pages (replay) ─┘      └─ acks ─▶ Cursors ─▶ receiver_cursors
"""

import gc

from aiohttp import WSCloseCode, web

from fanout import store
from fanout.cursors import Cursors
from fanout.node import Node
from fanout.pages import Pages
from fanout.session import Session
from fanout.settings import FanoutSettings
from fanout.tail import Tails
from shared.database import STEADY_PLANS
from shared.errors import DatabaseUnavailable
from shared.log import get_logger
from shared.peer import Peer, attend, close_all
from shared.presence import Vitals
from shared.process import Process
from shared.tokens import authenticate

__all__ = ["Fanout", "main"]

RECEIVERS_PATH = "/ws/v1/receivers"
# How soon rows of sessions are cleared that ended while the database was away.
TIDY_EVERY_S = 10.0
# With hundreds of receivers woken at once Python's defaults have the collector look through everything that lives many
# times a second: a fifth of the processor, and the longest delays. Hardly any of our garbage is cyclic.
GC_THRESHOLDS = (50_000, 20, 20)

log = get_logger(__name__)


class Fanout:
    """The delivery process."""

    def __init__(self, settings: FanoutSettings) -> None:
        gc.set_threshold(*GC_THRESHOLDS)
        self._peers: set[Peer] = set()
        self._process = Process(
            "fanout",
            settings,
            vitals=lambda: Vitals(connections=len(self._peers)),
            pool_settings=STEADY_PLANS,
        )
        self._node = Node(
            self._process, settings, Tails(self._process), Pages(self._process), Cursors(self._process)
        )

    async def run(self) -> None:
        """Live until a signal comes."""
        app = web.Application()
        app.router.add_get(RECEIVERS_PATH, self._connect)
        await self._process.run(
            app=app,
            tasks={
                "tailing": self._node.tails.run_tailing,
                "resolving": self._node.tails.run_resolving,
                "cursors": self._node.cursors.run,
                "tidying": self._tidy,
            },
            shut=self._shut,
        )

    async def _shut(self) -> None:
        await close_all(list(self._peers), WSCloseCode.GOING_AWAY, "shutting down")
        await self._node.cursors.flush()

    async def _tidy(self) -> None:
        while not self._process.stop.asked:
            await self._process.stop.sleep(TIDY_EVERY_S)
            try:
                await store.forget_other_sessions(
                    self._process.pool,
                    self._process.presence.process_id,
                    [peer.session_id for peer in self._peers],
                )
            except DatabaseUnavailable as error:
                log.debug("tidying_waits", error=str(error))

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade a receiver. Without a database it is told to come back (503)."""
        if self._refuses():
            return _come_back()
        try:
            identity = await authenticate(
                self._process.pool, request.headers.get("Authorization"), "receiver"
            )
        except DatabaseUnavailable:
            return _come_back()
        if self._refuses():  # since we asked: on a stop the peers that there are get closed, and no others
            return _come_back()
        peer = Peer(request)
        await peer.accept()
        session = Session(peer, self._node)
        self._peers.add(peer)
        try:
            await attend(peer, lambda: session.run(identity))
        finally:
            self._peers.discard(peer)
        return peer.response

    def _refuses(self) -> bool:
        """Whether no new receiver can be served now."""
        return self._process.stop.asked or self._process.presence.problem is not None


def _come_back() -> web.Response:
    return web.json_response(
        {"code": "UNAVAILABLE", "message": "come back in a few seconds"},
        status=503,
        headers={"Retry-After": "2"},
    )


async def main(settings: FanoutSettings) -> None:
    """Run a fanout."""
    await Fanout(settings).run()
