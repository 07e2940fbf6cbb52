"""Notifications: names of the NOTIFY channels, and the connection that sends them.

A notification says "look", and everyone who is woken by one also polls. None is believed, because whoever reaches the
database can send one, but for what nobody but a writer that has committed can know (OUTCOMES). It is sent after the
commit, never inside a transaction that is flushed: it would hold one cluster-wide lock across the flush and serialise
all commits, as was measured. INBOX, and OUTCOMES and POSITIONS of a drain, are sent in the database
(migrations/routines/); all others from a connection of their own.
"""

from types import TracebackType
from typing import Self

from shared.db.connections import Link
from shared.db.errors import DatabaseUnavailable, translated
from shared.db.poll_loop import Outage, PollLoop
from shared.log import get_logger
from shared.metrics import NOTIFICATIONS_COALESCED, NOTIFICATIONS_SENT
from shared.wake import Stop

__all__ = [
    "ACTIVITY",
    "ANNOUNCER",
    "ANSWERS",
    "COMMANDS",
    "CURSORS",
    "DEVICES",
    "INBOX",
    "OUTCOMES",
    "PASSINGS",
    "POSITIONS",
    "RACES",
    "REPLIES",
    "REQUESTS",
    "SESSIONS",
    "STATES",
    "STREAMS",
    "TOKENS",
    "Notifier",
]

INBOX = "rt_inbox"  # gateway → writer: parts were staged
# writer → gateway: outcomes were committed; payload: that gateway's process id, and a space and the receipts of its
# parts (gateway/batch.py), separated by commas, where all of them were stored
OUTCOMES = "rt_outcomes"
POSITIONS = (
    "rt_positions"  # writer → fanout, api: streams have new positions; payload: their ids, or "" for any
)
STREAMS = "rt_streams"  # gateway → fanout, api: a stream is new or has changed
SESSIONS = "rt_sessions"  # gateway → gateway: a session was probed, answered or ended; payload: the forwarder
TOKENS = "rt_tokens"  # api → gateway, fanout, api: a token was revoked
CURSORS = "rt_cursors"  # database → fanout: cursors were deleted; payload: their ids, or "" for any
DEVICES = "rt_devices"  # gateway → fanout, api: readers or a battery have changed; payload: their forwarder
COMMANDS = "rt_commands"  # api → gateway: a command was asked; payload: that gateway's process id
ANSWERS = "rt_answers"  # gateway → api: a command has ended; payload: the command's id
REQUESTS = "rt_requests"  # fanout → api: a receiver asks something
REPLIES = "rt_replies"  # api → fanout: that was answered; payload: the receiver's session
ACTIVITY = "rt_activity"  # everyone → api: entries were added to the activity log
RACES = "rt_races"  # api, gateway → fanout, api: races have changed; payload: one, or "" for any
ANNOUNCER = "rt_announcer"  # api → api: finishers were announced, or the announcer was set
PASSINGS = "rt_passings"  # api → api: reads became passings
STATES = "rt_states"  # api → api: alerts have begun, changed or ended

_NOTIFY = """
SELECT ring_unless_jammed(sent.channel, sent.payload) FROM unnest($1::text[], $2::text[]) AS sent(channel, payload)
"""

log = get_logger(__name__)


class Notifier:
    """Sends notifications. Those that come while one is under way are coalesced into the next: one in flight, none
    queued.

    A notification that is lost to a lost connection is lost: the poll of whoever waits covers it.
    """

    def __init__(self, url: str, *, name: str, stop: Stop, outage: Outage | None = None) -> None:
        # Nothing that this connection commits is worth a flush.
        self._link = Link(url, name=f"{name} notifier", synchronous_commit="off", statement_timeout="5s")
        self._loop = PollLoop(
            "notifier",
            self._send_pending,
            stop=stop,
            outage=outage,
            poll_s=60,
            on_failure=lambda _: self._link.drop(),
        )
        self._pending: dict[tuple[str, str], None] = {}

    async def __aenter__(self) -> Self:
        await self._link.get()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.drop()

    def notify(self, channel: str, payload: str = "") -> None:
        """Ask for `channel` to be notified as soon as the connection is free; returns at once."""
        if (channel, payload) in self._pending:
            NOTIFICATIONS_COALESCED.labels(channel).inc()
        self._pending[channel, payload] = None
        self._loop.wake()

    async def run(self) -> None:
        """Send what is asked for until the process stops and nothing is left to send."""
        await self._loop.run()
        # What was asked for last: a newcomer waits to be told that a session has ended.
        try:
            await self._send_pending()
        except DatabaseUnavailable as error:
            log.warning("notification_lost", error=str(error))

    async def _send_pending(self) -> None:
        if not self._pending:
            return
        # The connection first: what is taken off the list and cannot be sent is lost.
        connection = await self._link.get()
        notifications, self._pending = self._pending, {}
        with translated():
            await connection.execute(
                _NOTIFY, [each[0] for each in notifications], [each[1] for each in notifications]
            )
        for channel, _ in notifications:
            NOTIFICATIONS_SENT.labels(channel).inc()
