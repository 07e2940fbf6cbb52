"""The cluster's activity log: what happened, for operators, in one table that every process appends to.

Noting never waits and never fails: entries gather here, and `run` writes what has gathered, in order, at most a block
at a time. That is for what has happened anyway. What somebody changes is committed together with its entry (`changing`,
`within`), or recorded before a device is asked for it: whichever process dies when, no change is without its entry.

What one subject repeats is coalesced: its first entry is written at once, what follows within ten seconds becomes one
entry with a count, so that a device which comes and goes a hundred times a second cannot flood the log. While the
database is away they stay here, up to a bound; what comes beyond it is counted, not kept. The table is trimmed to the
newest entries by whoever writes, so that nobody else needs to. An entry's time is when it was written, or when the
transaction began that it is of. What is worth an entry, its name and its fields are for those who note; a secret never
is.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import monotonic
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from shared.db.connections import LARGEST_BIGINT, Pool, Statements, Transaction
from shared.db.errors import DatabaseRefused, DatabaseUnavailable, translated
from shared.db.poll_loop import Outage, PollLoop
from shared.log import get_logger
from shared.wake import Stop

__all__ = ["Activity", "Entry", "Level", "Note", "append", "entry", "insert"]

Level: TypeAlias = Literal["info", "warn", "error"]
# As `Activity.within`, without the connection.
Note: TypeAlias = Callable[..., Awaitable[None]]

WAITING_AT_MOST = 1_000
OF_DEVICES_WAITING_AT_MOST = 800
_BLOCK = 200
_LONGEST_TEXT = 200
WINDOW_S = 10.0
# Subjects whose entries are coalesced at the moment; what others repeat meanwhile is dropped and counted.
WINDOWS_AT_MOST = 10_000

_APPEND = """
INSERT INTO activity (level, process_id, event, fields, of_device)
SELECT entry.level, $1::uuid, entry.event, entry.fields::jsonb, entry.of_device
FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[])
    WITH ORDINALITY AS entry(level, event, fields, of_device, place)
ORDER BY entry.place
"""
# Before the entries, not after them: if it fails, none of them has been written, and all are written again.
_TRIM = "SELECT trim_activity()"

log = get_logger(__name__)


class Entry(NamedTuple):
    """An entry as it is written: fields are a JSON object. of_device: a device caused it, and can again at will."""

    level: Level
    event: str
    fields: str
    of_device: bool = False


@dataclass(slots=True)
class _Window:
    """What one subject repeats of one event, until `ends_at`."""

    ends_at: float
    of_device: bool
    level: Level = "info"
    fields: dict[str, object] = field(default_factory=dict)
    count: int = 0


class Activity:
    """Appends this process's entries. `stop` is what ends `run`; `written` is called after entries were written."""

    def __init__(
        self,
        process_id: UUID,
        *,
        stop: Stop,
        outage: Outage | None = None,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._process_id = process_id
        self._stop = stop
        self._outage = outage
        self._written = written
        self.windows: dict[tuple[str, str], _Window] = {}  # by event and subject, the first to end first
        self._wake = stop.waker()
        self._writing = asyncio.Lock()  # whoever writes what waits, so that it is written once and in order
        self._waiting: deque[Entry] = deque()
        self._dropped = 0
        self._untrimmed = False  # something was written since the table was trimmed

    def note(
        self, event: str, *, level: Level = "info", of: str | None = None, own: bool = False, **fields: object
    ) -> None:
        """Add an entry as soon as may be; returns at once. Fields are numbers, truths, nulls, or become short texts.

        of: the subject, if it may repeat the event at will: then at most two entries in WINDOW_S, the second with the
        count of what it stands for and the fields of the last. It is a device, unless the entry is our own: a device's
        entries are kept apart, and never in place of others.
        """
        of_device = of is not None and not own
        if of is None or self._is_first(event, of, of_device=of_device, level=level, fields=fields):
            self._add(event, level, fields, of_device=of_device)

    @asynccontextmanager
    async def changing(self, pool: Pool) -> AsyncIterator[tuple[Transaction, Note]]:
        """Yield a connection for a change and what notes it: they are committed together, or nothing is."""
        with translated():
            async with pool.acquire() as connection, connection.transaction():
                yield connection, partial(self.within, connection)
        self.told()

    async def within(
        self,
        connection: Transaction,
        event: str,
        *,
        level: Level = "info",
        of: str | None = None,
        **fields: object,
    ) -> None:
        """Write an entry in the transaction of what it tells of; after the commit it is to be `told`.

        of: the device that has done it, if one has. What it repeats, as it can at will, is counted and written later,
        as by `note`.
        """
        if of is None or self._is_first(event, of, of_device=True, level=level, fields=fields):
            mine = entry(event, level, fields, of_device=of is not None)
            await insert(connection, self._process_id, [mine])
            self._untrimmed = True

    def told(self) -> None:
        """Tell of what was written in others' transactions, if anything was, and have the table trimmed."""
        if self._untrimmed:
            # Not within them: who changes something waits for nobody who trims.
            self._wake.set()
            self._written()

    async def record(
        self,
        pool: Pool,
        event: str,
        *,
        level: Level = "info",
        of: str | None = None,
        of_device: bool = False,
        **fields: object,
    ) -> None:
        """Write an entry now, behind those that wait and before what it tells of is done; DatabaseUnavailable when that
        had better not be done. of: as for `within`. of_device: a device caused it, and all that it repeats is written.
        """
        if of is not None and not self._is_first(event, of, of_device=True, level=level, fields=fields):
            return
        async with self._writing:
            # What waits is older, and written by the same statement. Beyond a block of it the order is given up:
            # whoever is about to ask a device does not wait for a backlog.
            waiting = list(islice(self._waiting, _BLOCK))
            mine = entry(event, level, fields, of_device=of_device or of is not None)
            await append(pool, self._process_id, [*waiting, mine])
            # Not before: where the write failed, or its answer was lost, they wait on. Twice in the log is better than
            # never.
            self._take_off(waiting)
        self._written()

    def _is_first(
        self, event: str, of: str, *, of_device: bool, level: Level, fields: dict[str, object]
    ) -> bool:
        window = self.windows.get((event, of))
        if window is not None:
            window.level, window.fields = level, fields
            window.count += 1
            return False
        if len(self.windows) >= WINDOWS_AT_MOST:
            self._dropped += 1
            return False
        self.windows[event, of] = _Window(monotonic() + WINDOW_S, of_device)
        return True

    def _close_windows(self) -> None:
        """Add the entries of windows that are over. All last equally long, so that the first to begin is the first."""
        while self.windows:
            key, window = next(iter(self.windows.items()))
            # At a stop all are over: what they have counted is the last that this process writes.
            if window.ends_at > monotonic() and not self._stop.asked:
                return
            del self.windows[key]
            if window.count:
                counted = {"count": window.count} if window.count > 1 else {}
                self._add(key[0], window.level, {**window.fields, **counted}, of_device=window.of_device)
                # Another window at once: who goes on repeating gets an entry in ten seconds, not a first one each
                # time.
                self.windows[key] = _Window(monotonic() + WINDOW_S, window.of_device)

    def _add(self, event: str, level: Level, fields: dict[str, object], *, of_device: bool) -> None:
        # Devices leave the others some space.
        if len(self._waiting) >= (OF_DEVICES_WAITING_AT_MOST if of_device else WAITING_AT_MOST):
            self._dropped += 1
            return
        self._waiting.append(entry(event, level, fields, of_device=of_device))
        self._wake.set()

    async def run(self, pool: Pool) -> None:
        """Write what is noted until the process stops and nothing waits. What is noted later is lost."""
        loop = PollLoop(
            "activity",
            lambda: self._write_waiting(pool),
            stop=self._stop,
            outage=self._outage,
            poll_s=self._next_window_s,
            wake=self._wake,
        )
        await loop.run()
        try:
            await self._write_waiting(pool)  # with what windows have counted until now
        except DatabaseUnavailable as error:
            log.warning("activity_lost", entries=len(self._waiting), error=str(error))

    async def _write_waiting(self, pool: Pool) -> None:
        self._close_windows()
        while self._waiting:
            await self._write_block(pool)
            self._close_windows()
        if self._untrimmed and not self._stop.asked:
            # Before the statement: what is written while it runs may be too new for it, and is trimmed the next time.
            self._untrimmed = False
            with translated():
                await pool.execute(_TRIM)

    def _next_window_s(self) -> float:
        """Return how long it is until a window is over."""
        for window in self.windows.values():
            return max(0.0, window.ends_at - monotonic())
        return 60.0

    async def _write_block(self, pool: Pool) -> None:
        async with self._writing:
            block = list(islice(self._waiting, _BLOCK))
            if not block:
                return
            try:
                # The lock is held over the write: two that wrote the same block would both take it off.
                await append(pool, self._process_id, block)
                self._written()
            except DatabaseRefused as error:
                # It is taken off all the same: it would be refused again, and keep all others behind it for ever.
                log.error("activity_refused", error=str(error), entries=len(block))
            self._take_off(block)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.note("activity_dropped", level="warn", count=dropped)

    def _take_off(self, written: Sequence[Entry]) -> None:
        """Only now: while the database is away they wait, and those that come meanwhile stand behind them."""
        for _ in written:
            self._waiting.popleft()


def entry(event: str, level: Level, fields: Mapping[str, object], *, of_device: bool = False) -> Entry:
    """Return an entry, with its fields as the table can hold them."""
    plain = {name: _plain(value) for name, value in fields.items()}
    return Entry(level, event, orjson.dumps(plain).decode(), of_device)


async def append(database: Statements, process_id: UUID, block: Sequence[Entry]) -> None:
    """Trim the table, and write entries in their order."""
    with translated():
        await database.execute(_TRIM)
    await insert(database, process_id, block)


async def insert(database: Statements, process_id: UUID, block: Sequence[Entry]) -> None:
    """Write entries, in their order."""
    columns = [list(column) for column in zip(*block, strict=True)]
    with translated():
        await database.execute(_APPEND, process_id, *columns)


def _plain(value: object) -> int | float | str | None:
    """Return a value as JSON and Postgres can hold it: no NUL, no half surrogates, nothing endless."""
    if (
        value is None
        or isinstance(value, bool | float)
        or (isinstance(value, int) and abs(value) <= LARGEST_BIGINT)
    ):
        return value
    return str(value)[:_LONGEST_TEXT].replace("\x00", "\\0").encode(errors="replace").decode()
