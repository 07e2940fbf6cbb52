"""Puts the fanout together: one route, the sessions behind it, the node's tails, pages and cursors.

bell ─▶ Tails: one read ─▶ Tail (window) ─┬─▶ Session ─▶ receiver
                          Pages (replay) ─┘      └─ acks ─▶ Cursors ─▶ receiver_cursors
"""

from aiohttp import WSCloseCode, web

from fanout import store
from fanout.cursors import Cursors
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

log = get_logger(__name__)


class Fanout:
    """The delivery process."""

    def __init__(self, settings: FanoutSettings) -> None:
        self._settings = settings
        self._peers: set[Peer] = set()
        self._process = Process(
            "fanout",
            settings,
            vitals=lambda: Vitals(connections=len(self._peers)),
            pool_settings=STEADY_PLANS,
        )
        self._tails = Tails(self._process)
        self._pages = Pages(self._process)
        self._cursors = Cursors(self._process)

    async def run(self) -> None:
        """Live until a signal comes."""
        app = web.Application()
        app.router.add_get(RECEIVERS_PATH, self._connect)
        await self._process.run(
            app=app,
            tasks={
                "tailing": self._tails.run_tailing,
                "resolving": self._tails.run_resolving,
                "cursors": self._cursors.run,
                "tidying": self._tidy,
            },
            shut=self._shut,
        )

    async def _shut(self) -> None:
        await close_all(list(self._peers), WSCloseCode.GOING_AWAY, "shutting down")
        await self._cursors.flush()

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
        if self._process.stop.asked or self._process.presence.problem:
            return _come_back()
        try:
            identity = await authenticate(
                self._process.pool, request.headers.get("Authorization"), "receiver"
            )
        except DatabaseUnavailable:
            return _come_back()
        peer = Peer(request)
        await peer.accept()
        session = Session(
            peer,
            process=self._process,
            settings=self._settings,
            tails=self._tails,
            pages=self._pages,
            cursors=self._cursors,
        )
        self._peers.add(peer)
        try:
            await attend(peer, lambda: session.run(identity))
        finally:
            self._peers.discard(peer)
        return peer.response


def _come_back() -> web.Response:
    return web.json_response(
        {"code": "UNAVAILABLE", "message": "come back in a few seconds"},
        status=503,
        headers={"Retry-After": "2"},
    )


async def main(settings: FanoutSettings) -> None:
    """Run a fanout."""
    await Fanout(settings).run()
