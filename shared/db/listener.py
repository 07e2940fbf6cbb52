"""Receives notifications: one connection that only LISTENs.

Listen, then look: after every (re)connect LISTEN comes first and then everyone is woken, so that nothing that
was committed in between is missed. Callbacks only set flags. The connection is asked for a sign of life every
few seconds, because asyncpg notices by itself only what ends with FIN or RST. With `enabled=False` (LISTEN=off)
nothing is ever received and everyone lives by polling.
"""

from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from shared.db.connections import Connection, connect, ping
from shared.db.errors import DatabaseUnavailable, translated
from shared.db.poll_loop import Outage, PollLoop
from shared.log import get_logger
from shared.metrics import NOTIFICATIONS_RECEIVED, NOTIFY_QUEUE, RECONNECTS
from shared.wake import Stop

__all__ = ["Callback", "Listener"]

Callback = Callable[[str], None]

# A lost connection is noticed within PING_EVERY_S + ping's own 3 s: in time for /readyz (http-api.md, section 6.7).
PING_EVERY_S = 1.5

log = get_logger(__name__)


class Listener:
    """Calls back when a notification arrives, and once for each channel whenever some may have been missed."""

    def __init__(
        self, url: str, *, name: str, stop: Stop, outage: Outage | None = None, enabled: bool = True
    ) -> None:
        self._url = url
        self._name = name
        self._stop = stop
        self._enabled = enabled
        self._loop = PollLoop(
            "listener", self._listen_on, stop=stop, outage=outage, poll_s=PING_EVERY_S, on_failure=self._lost
        )
        self._callbacks: dict[str, list[Callback]] = defaultdict(list)
        self._connection: Connection | None = None

    @property
    def problem(self) -> str | None:
        """What keeps notifications from arriving, or None."""
        lost = self._enabled and (self._connection is None or self._connection.is_closed())
        return "not connected" if lost else None

    def on(self, channel: str, callback: Callback) -> None:
        """Call `callback` with the payload of every notification of `channel`, and with "" after every reconnect.

        To be asked before the listener is entered.
        """
        self._callbacks[channel].append(callback)

    async def __aenter__(self) -> Self:
        if self._enabled:
            await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def run(self) -> None:
        """Keep listening until the process stops."""
        if self._enabled:
            await self._loop.run()
        else:
            await self._stop.wait()

    async def _listen_on(self) -> None:
        if self._connection is None or self._connection.is_closed():
            await self._listen()
            RECONNECTS.labels("listener").inc()
            log.info("listener_back")
        else:
            NOTIFY_QUEUE.set(await ping(self._connection))

    def _lost(self, _error: DatabaseUnavailable) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _listen(self) -> None:
        connection = await connect(self._url, name=f"{self._name} listener")
        with translated():
            for channel in self._callbacks:
                await connection.add_listener(channel, self._on_notification)
        connection.add_termination_listener(lambda _: self._loop.wake())
        self._connection = connection
        for callbacks in self._callbacks.values():
            for callback in callbacks:
                callback("")

    def _on_notification(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        NOTIFICATIONS_RECEIVED.labels(channel).inc()
        for callback in self._callbacks[channel]:
            callback(str(payload))
