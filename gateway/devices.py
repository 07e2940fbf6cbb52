"""What newer forwarders tell of their readers and batteries, on its way into the database.

None of it is a read, and none of it may hold one up: a session hands it over and goes on. One comes for every read, so
what says nothing new goes no further than here. Of what is new the newest is kept, one of each reader and each battery,
and written once a second for all sessions at once. While the database is away that is all that waits; it counts in the
account of what devices make us hold.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from gateway import metrics
from gateway.store import devices as store
from gateway.store.devices import Power, ReaderState, UpsState
from shared.db.channels import DEVICES
from shared.db.errors import DatabaseRefused
from shared.log import get_logger
from shared.protocol.commands import ReaderControlResponse
from shared.protocol.devices import (
    ForwarderUpsStatus,
    ReaderDownloadProgress,
    ReaderInfo,
    ReaderInfoUpdate,
    ReaderStatusUpdate,
    UnusableMessage,
    storable_info,
    stored,
)
from shared.protocol.v1 import Message
from shared.runtime.activity import Level
from shared.runtime.process import Process
from shared.transport.account import Account, Held

__all__ = ["DeviceStates", "SessionDevices"]

# A reader's state is written so often at the most.
EVERY_S = 1.0
# What one counts without its texts.
STATE_BYTES = 128
# One statement takes so many; each may have 16 kB.
AT_ONCE = 200

S = TypeVar("S", ReaderState, UpsState)

log = get_logger(__name__)


class DeviceStates:
    """What is to be written for all sessions of this gateway."""

    def __init__(self, process: Process, account: Account) -> None:
        self._process = process
        self._account = account
        self.readers: dict[tuple[str, str], ReaderState] = {}
        self._ups: dict[str, UpsState] = {}
        self._loop = process.loop("devices", self._write_all, poll_s=60)

    def note_reader(self, told: ReaderState) -> None:
        """Let this be written: what it does not say stays as it waits, if it waits for the same session."""
        key = told.forwarder_id, told.reader_ip
        waiting = self.readers.get(key)
        if waiting is not None:
            self._account.give_back(Held(_size(waiting)))
            if waiting.session_id == told.session_id:
                said = {name: value for name, value in told._asdict().items() if value is not None}
                told = waiting._replace(**said)
        self.readers[key] = told
        self._account.hold(Held(_size(told)))
        self._loop.wake()

    def note_ups(self, told: UpsState) -> None:
        """Let this be written."""
        if (waiting := self._ups.get(told.forwarder_id)) is not None:
            self._account.give_back(Held(_size(waiting)))
        self._ups[told.forwarder_id] = told
        self._account.hold(Held(_size(told)))
        self._loop.wake()

    async def run(self) -> None:
        """Write what is noted until the process stops."""
        await self._loop.run()

    async def _write_all(self) -> None:
        if not (self.readers or self._ups):
            return
        await self._write(list(self.readers.values()), self._write_readers, self._written)
        await self._write(list(self._ups.values()), self._write_ups, self._ups_written)
        await self._process.stop.sleep(EVERY_S)

    async def _write(
        self, states: list[S], write: Callable[[list[S]], Awaitable[None]], written: Callable[[S], None]
    ) -> None:
        """Write states, some at a time. What could be written waits no more; nor does what is refused by itself."""
        for start in range(0, len(states), AT_ONCE):
            some = states[start : start + AT_ONCE]
            try:
                await write(some)
            except DatabaseRefused:
                for state in some:
                    try:
                        await write([state])
                    except DatabaseRefused as error:
                        log.error("device_state_refused", forwarder_id=state.forwarder_id, error=str(error))
            for state in some:
                written(state)

    async def _write_readers(self, states: list[ReaderState]) -> None:
        for forwarder_id in await store.note_readers(self._process.pool, states):
            self._process.notifier.notify(DEVICES, forwarder_id)

    async def _write_ups(self, states: list[UpsState]) -> None:
        for power in await store.note_ups(self._process.pool, states):
            self._process.notifier.notify(DEVICES, power.forwarder_id)
            self.tell(power)

    def tell(self, power: Power) -> None:
        """Tell operators of power that was lost or is back."""
        if None in (power.was_plugged, power.is_plugged) or power.was_plugged == power.is_plugged:
            return
        level: Level = "info" if power.is_plugged else "warn"
        self._process.activity.note(
            "power_restored" if power.is_plugged else "power_lost",
            level=level,
            of=power.forwarder_id,
            forwarder_id=power.forwarder_id,
            battery_percent=power.battery_percent,
        )

    def _written(self, state: ReaderState) -> None:
        key = state.forwarder_id, state.reader_ip
        # Something newer may have come while it was written.
        if self.readers.get(key) is state:
            del self.readers[key]
            self._account.give_back(Held(_size(state)))

    def _ups_written(self, state: UpsState) -> None:
        if self._ups.get(state.forwarder_id) is state:
            del self._ups[state.forwarder_id]
            self._account.give_back(Held(_size(state)))


class SessionDevices:
    """What one session has told.

    readers: those that it has, whoever named them; of others nothing is taken.
    """

    def __init__(
        self, states: DeviceStates, forwarder_id: str, session_id: UUID, readers: Collection[str]
    ) -> None:
        self._states = states
        self._forwarder_id = forwarder_id
        self._session_id = session_id
        self._readers = readers
        self._known: dict[str, ReaderState] = {}  # without what is long

    def take(self, message: Message | UnusableMessage) -> None:
        """Take news of a reader or of the battery; what is not right is counted."""
        if isinstance(message, UnusableMessage):
            metrics.NEWS_IGNORED.labels(message.kind).inc()
        elif isinstance(message, ForwarderUpsStatus):
            status = None if message.status is None else stored(message.status)
            self._states.note_ups(UpsState(self._forwarder_id, self._session_id, message.available, status))
        elif isinstance(message, ReaderStatusUpdate):
            self._tell(message, message.reader_ip, connected=message.connected)
        elif isinstance(message, ReaderInfoUpdate):
            info = self._info(message, message.reader_info)
            self._tell(message, message.reader_ip, state=message.state, info=info)
        elif isinstance(message, ReaderDownloadProgress):
            self._tell(message, message.reader_ip, download=stored(message.progress_told()))

    def checked(self, response: ReaderControlResponse) -> ReaderControlResponse:
        """Return a device's answer without what is not right in it, and take what it says of the reader."""
        info = self._info(response, response.reader_info)
        if info is not None:
            self._tell(response, response.reader_ip, info=info)
        return msgspec.structs.replace(response, reader_info=msgspec.Raw((info or "null").encode()))

    def _info(self, message: Message, info: ReaderInfo | msgspec.Raw | None) -> str | None:
        """Return a reader's info as JSON; None when there is none that is right."""
        if info is None or (isinstance(info, msgspec.Raw) and bytes(info) in (b"", b"null")):
            return None
        text = storable_info(info)
        if text is None:
            _ignored(message)
        return text

    def _tell(self, message: Message, reader_ip: str, **told: Any) -> None:
        if reader_ip not in self._readers:
            _ignored(message)
            return
        before = self._known.get(reader_ip) or ReaderState(self._forwarder_id, reader_ip, self._session_id)
        now = before._replace(**told)
        self._known[reader_ip] = now._replace(info=None, download=None)
        # With whatever is told all else goes along that this session has told: what a crash of the database took away
        # is there again with the next info.
        if now != before:
            self._states.note_reader(now)


def _ignored(message: Message) -> None:
    metrics.NEWS_IGNORED.labels(str(type(message).__struct_config__.tag)).inc()


def _size(state: ReaderState | UpsState) -> int:
    if isinstance(state, UpsState):
        return STATE_BYTES + len(state.status or "")
    return STATE_BYTES + len(state.info or "") + len(state.download or "")
