"""Puts the fanout together: a route for each generation, the sessions behind it, the node's tails, pages and cursors.

NOTIFY ─▶ Tails: one read ─▶ Tail (window) ─┬─▶ Sender ─▶ receiver ─▶ Session
                          Pages (replay) ─┘      ▲                  │ acks
                                                 └──────────────────┴─▶ Cursors ─▶ receiver_cursors
"""

import gc
import socket

from aiohttp import web

from fanout.node import Node
from fanout.session import Session
from fanout.session_v12 import SessionV12
from fanout.settings import FanoutSettings
from fanout.store import POOL_SETTINGS
from fanout.store import sessions as store
from shared.log import get_logger
from shared.runtime.liveness import Vitals
from shared.runtime.process import Process
from shared.transport.acceptor import Acceptor
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity

__all__ = ["Fanout", "main"]

RECEIVERS_PATH = "/ws/v1/receivers"
RECEIVERS_V12_PATH = "/ws/v1.2/receivers"
# Files of a race come through these sockets: 15 MiB as base64.
V12_MESSAGE_BYTES = 16 * 1024 * 1024
# How soon rows of sessions are cleared that ended while the database was away.
TIDY_EVERY_S = 10.0
# What may be in flight, at the usual length of an event; the kernel takes twice of what it is told.
SEND_BUFFER_BYTES = 64 * 1024
# With hundreds of receivers woken at once Python's defaults have the collector look through everything that lives many
# times a second: a fifth of the processor, and the longest delays. Hardly any of our garbage is cyclic.
GC_THRESHOLDS = (50_000, 20, 20)

log = get_logger(__name__)


class Fanout:
    """The delivery process."""

    def __init__(self, settings: FanoutSettings) -> None:
        gc.set_threshold(*GC_THRESHOLDS)
        self.process = Process(
            "fanout",
            settings,
            vitals=lambda: Vitals(connections=len(self._acceptor.connections)),
            counts=("events_delivered",),
            pool_settings=POOL_SETTINGS,
        )
        self._node = Node.of(self.process, settings)
        self._acceptor = Acceptor(self.process, "receiver", self._attend, account=self._node.account)

    async def run(self) -> None:
        """Live until a signal comes."""
        app = web.Application()
        app.router.add_get(RECEIVERS_PATH, self._connect)
        app.router.add_get(RECEIVERS_V12_PATH, self._connect_v12)
        await self.process.run(
            app=app,
            tasks={
                "acceptor": self._acceptor.run,
                "tailing": self._node.tails.run_tailing,
                "resolving": self._node.tails.run_resolving,
                "cursors": self._node.cursors.run,
                "races": self._node.races.run,
                "stream metrics": self._node.stream_metrics.run,
                "devices": self._node.devices.run,
                "tidying": self.process.loop("tidying", self._tidy, poll_s=TIDY_EVERY_S).run,
            },
            shut=self._shut,
        )

    async def _shut(self) -> None:
        await self._acceptor.close()
        # Behind the sessions, which wait for pages; before the cursors, which need a connection of the pool.
        await self._node.pages.close()
        await self._node.cursors.flush()

    async def _tidy(self) -> None:
        await store.forget_other_sessions(
            self.process.pool,
            self.process.presence.process_id,
            [connection.session_id for connection in self._acceptor.connections],
        )

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        _limit_send_buffer(request)
        return await self._acceptor.connect(request)

    async def _connect_v12(self, request: web.Request) -> web.StreamResponse:
        _limit_send_buffer(request)
        return await self._acceptor.connect(request, self._attend_v12, message_bytes=V12_MESSAGE_BYTES)

    async def _attend_v12(self, connection: DeviceConnection, identity: Identity) -> None:
        await SessionV12(connection, self._node, identity).run()

    async def _attend(self, connection: DeviceConnection, identity: Identity) -> None:
        await Session(connection, self._node).run(identity)


def _limit_send_buffer(request: web.Request) -> None:
    """Have the kernel hold no more than SEND_BUFFER_BYTES for a receiver that does not read.

    By itself it would take 4 MiB: thousands of events that a receiver which comes back to life gets all at once, and
    drops (protocol.md, section 5.5).
    """
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


async def main(settings: FanoutSettings) -> None:
    """Run a fanout."""
    await Fanout(settings).run()
