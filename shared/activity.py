"""The cluster's activity log: what happened, for operators, in one table that every process appends to.

Noting never waits and never fails: entries gather here, and `run` writes what has gathered, in order, at most a block
at a time. While the database is away they stay here, up to a bound; what comes beyond it is counted, not kept. With
every block the table is trimmed to the newest entries, so that nobody else needs to. An entry's time is when it was
written. What is worth an entry, its name and its fields are for those who note; a secret never is.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from shared.database import Pool
from shared.errors import DatabaseRefused, DatabaseUnavailable, translated
from shared.log import get_logger
from shared.wake import Stop

__all__ = ["KEPT", "Activity", "Level"]

Level: TypeAlias = Literal["info", "warn", "error"]

# Entries of the table that are kept: many times what /api/v1/logs shows, and a few megabytes.
KEPT = 10_000
WAITING_AT_MOST = 1_000
_BLOCK = 200
_LONGEST_TEXT = 200
_RETRY_S = 1.0

# The subquery's maximum comes from the rows just written, not from the table; gaps in the numbers only trim earlier.
_APPEND = """
WITH added AS (
    INSERT INTO activity (level, process_id, event, fields)
    SELECT entry.level, $1::uuid, entry.event, entry.fields::jsonb
    FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS entry(level, event, fields, place)
    ORDER BY entry.place
    RETURNING activity_id
)
DELETE FROM activity WHERE activity_id <= (SELECT max(activity_id) FROM added) - $5::bigint
"""

log = get_logger(__name__)


class _Entry(NamedTuple):
    level: Level
    event: str
    fields: str


class Activity:
    """Appends this process's entries. `stop` is what ends `run`."""

    def __init__(self, process_id: UUID, *, stop: Stop) -> None:
        self._process_id = process_id
        self._stop = stop
        self._wake = stop.waker()
        self._waiting: deque[_Entry] = deque()
        self._dropped = 0

    def note(self, event: str, *, level: Level = "info", **fields: object) -> None:
        """Add an entry as soon as may be; returns at once. Fields are numbers, truths, nulls, or become short texts."""
        if len(self._waiting) >= WAITING_AT_MOST:
            self._dropped += 1
            return
        plain = {name: _plain(value) for name, value in fields.items()}
        self._waiting.append(_Entry(level, event, orjson.dumps(plain).decode()))
        self._wake.set()

    async def run(self, pool: Pool) -> None:
        """Write what is noted until the process stops and nothing waits. What is noted later is lost."""
        while not (self._stop.asked and not self._waiting):
            if not self._waiting:
                await self._wake.wait(at_most_s=60)
                continue
            try:
                await self._write_block(pool)
            except DatabaseUnavailable as error:
                log.warning("activity_delayed", error=str(error))
                if self._stop.asked:
                    return
                await self._stop.sleep(_RETRY_S)

    async def _write_block(self, pool: Pool) -> None:
        block = list(islice(self._waiting, _BLOCK))
        try:
            await _append(pool, self._process_id, block)
        except DatabaseRefused as error:
            log.error("activity_refused", error=str(error), entries=len(block))
        for _ in block:
            self._waiting.popleft()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.note("activity_dropped", level="warn", count=dropped)


async def _append(pool: Pool, process_id: UUID, block: Sequence[_Entry]) -> None:
    columns = [list(column) for column in zip(*block, strict=True)]
    with translated():
        await pool.execute(_APPEND, process_id, *columns, KEPT)


def _plain(value: object) -> int | float | str | None:
    """Return a value as JSON and Postgres can hold it: no NUL, no half surrogates, nothing endless."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value)[:_LONGEST_TEXT].replace("\x00", "\\0").encode(errors="replace").decode()
