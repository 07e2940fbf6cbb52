"""Receives notifications: one connection that only LISTENs.

Listen, then look: after every (re)connect LISTEN comes first and then everyone is woken, so that nothing that
was committed in between is missed. Callbacks only set flags. The connection is asked for a sign of life every
few seconds, because asyncpg notices by itself only what ends with FIN or RST. Whatever a payload holds, for every role
can send any, it says "look": who cannot read it looks at everything. With `enabled=False` (LISTEN=off) nothing is ever
received and everyone lives by polling.
"""

from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from shared.db.connections import Connection, Link, ping
from shared.db.poll_loop import Outage, PollLoop
from shared.log import get_logger
from shared.metrics import NOTIFICATIONS_RECEIVED, NOTIFY_QUEUE, RECONNECTS
from shared.wake import Stop

__all__ = ["Callback", "Listener"]

Callback = Callable[[str], None]

# A lost connection is noticed within PING_EVERY_S + ping's own 3 s: in time for /readyz (http-api.md, section 6.7).
PING_EVERY_S = 1.5
# An error cites the payload, which anybody may have written, and may be 8 kB long.
_LONGEST_ERROR = 200

log = get_logger(__name__)


class Listener:
    """Calls back when a notification arrives, and once for each channel whenever some may have been missed."""

    def __init__(
        self, url: str, *, name: str, stop: Stop, outage: Outage | None = None, enabled: bool = True
    ) -> None:
        self._stop = stop
        self._enabled = enabled
        self._link = Link(url, self._listen, name=f"{name} listener")
        self._loop = PollLoop(
            "listener",
            self._listen_on,
            stop=stop,
            outage=outage,
            poll_s=PING_EVERY_S,
            on_failure=lambda _: self._link.drop(),
        )
        self._callbacks: dict[str, list[Callback]] = defaultdict(list)
        self._unreadable: set[str] = set()  # channels with a payload that somebody could not read

    @property
    def problem(self) -> str | None:
        """What keeps notifications from arriving, or None."""
        return "not connected" if self._enabled and not self._link.is_open else None

    def on(self, channel: str, callback: Callback) -> None:
        """Call `callback` with the payload of every notification of `channel`, and with "" after every reconnect
        and in place of a payload for which it raises ValueError.

        To be asked before the listener is entered.
        """
        self._callbacks[channel].append(callback)

    async def __aenter__(self) -> Self:
        if self._enabled:
            await self._link.get()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.drop()

    async def run(self) -> None:
        """Keep listening until the process stops."""
        if self._enabled:
            await self._loop.run()
        else:
            await self._stop.wait()

    async def _listen_on(self) -> None:
        was_open = self._link.is_open
        # One that has ended is not pinged: `get` opens another and runs `_listen`, which has everyone look. One that
        # hangs fails the ping, is dropped by on_failure, and takes this way at the next try.
        connection = await self._link.get()
        if was_open:
            NOTIFY_QUEUE.set(await ping(connection))
        else:
            RECONNECTS.labels("listener").inc()
            log.info("listener_back")

    async def _listen(self, connection: Connection) -> None:
        """LISTEN first, then have everyone look: what is committed in between is notified, and seen."""
        # All channels before any callback: who looks now and finds nothing must be told of what comes a moment later.
        for channel in self._callbacks:
            await connection.add_listener(channel, self._on_notification)
        # An end that asyncpg sees by itself need not wait for the next ping.
        connection.add_termination_listener(lambda _: self._loop.wake())
        for callbacks in self._callbacks.values():
            for callback in callbacks:
                callback("")

    def _on_notification(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        NOTIFICATIONS_RECEIVED.labels(channel).inc()
        # asyncpg has the loop call this in a step of its own: callbacks set flags, and whoever they wake looks later.
        for callback in self._callbacks[channel]:
            try:
                callback(str(payload))
            except ValueError as error:
                self._note_unreadable(channel, error)
                callback("")

    def _note_unreadable(self, channel: str, error: ValueError) -> None:
        # Once: whoever can send one can send a million.
        if channel not in self._unreadable:
            self._unreadable.add(channel)
            log.warning("notification_unreadable", channel=channel, error=str(error)[:_LONGEST_ERROR])
