"""Imports: a file becomes the people or the chips of a race, whole or not at all.

Parsed beside the event loop, checked before anything is locked, stored in one transaction. What is wrong is said by
line; nothing of a file is in any log. Callable by whoever has the bytes, HTTP or a receiver's request. Who says since
when the roster that it replaces is as it is replaces no other: of two who import at once the second is told.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from api.http.context import Api
from api.http.errors import ApiError
from api.races.imports import (
    FileRefused,
    Parsed,
    TooManyRows,
    parse_chips,
    parse_participants,
)
from api.races.store import races
from api.races.store import roster as store
from api.races.store.roster import Kind
from api.races.types import Imported, Warned
from shared.db.channels import RACES

__all__ = ["MOST_BYTES", "Imports", "Kind", "import_file", "no_race"]

MOST_BYTES = 10 * 1024 * 1024
# Of files that are read, parsed or stored: each is some 100 MB at its largest.
AT_ONCE = 2
WAITS_S = 10.0
# A refusal names the first rows in its message, all that are kept in its details.
NAMED = 5

_PARSERS: dict[Kind, Callable[[bytes], Parsed[Any]]] = {
    "participants": parse_participants,
    "chips": parse_chips,
}


class Imports:
    """The imports of this process; kept_days: for how long people are kept where nobody has said it (0: for ever)."""

    def __init__(self, kept_days: int = 0) -> None:
        self.kept_days = kept_days
        self._places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; ApiError when none comes free in time."""
        try:
            async with asyncio.timeout(WAITS_S):
                await self._places.acquire()
        except TimeoutError:
            raise ApiError("UNAVAILABLE", f"{AT_ONCE} files are being imported; try again later") from None
        try:
            yield
        finally:
            self._places.release()


async def import_file(
    api: Api,
    race_id: UUID,
    kind: Kind,
    read: Callable[[], Awaitable[bytes]],
    *,
    dry_run: bool = False,
    expected: datetime | None = None,
) -> Imported:
    """Let a race have the people or chips of a file, and no others. read: called when there is room for one more file,
    and when there is such a race. expected: since when its roster is as it is, as far as whoever asks knows. ApiError
    when it is refused; then nothing has changed.
    """
    # Before the file has come: what cannot be is said at once.
    _as_expected(await store.changed_at(api.pool, race_id), expected)
    imports = api.part(Imports)
    async with imports.place():
        content = await read()
        if len(content) > MOST_BYTES:
            raise ApiError("PAYLOAD_TOO_LARGE", "the file is larger than 10 MiB")
        parsed = await _parsed(kind, content)
        if dry_run:
            changed_at = _as_expected(await store.changed_at(api.pool, race_id), expected)
        else:
            changed_at = await _store(
                api, race_id, kind, parsed.rows, kept_days=imports.kept_days, expected=expected
            )
    return Imported(
        imported=len(parsed.rows),
        skipped=parsed.skipped,
        duplicates=parsed.duplicates,
        warnings=[Warned(line=each.line, message=each.message) for each in parsed.warnings],
        roster_changed_at=changed_at,
    )


def no_race() -> ApiError:
    """Return the error for an id that no race has."""
    return ApiError("NOT_FOUND", "there is no race of this id")


async def _parsed(kind: Kind, content: bytes) -> Parsed[Any]:
    try:
        parsed = await asyncio.to_thread(_PARSERS[kind], content)
    except TooManyRows as error:
        raise ApiError("PAYLOAD_TOO_LARGE", str(error)) from error
    except FileRefused as error:
        raise ApiError("BAD_REQUEST", str(error)) from error
    if parsed.bad_count:
        raise _bad_rows(parsed)
    return parsed


def _bad_rows(parsed: Parsed[Any]) -> ApiError:
    named = "; ".join(f"line {each.line}: {each.message}" for each in parsed.bad[:NAMED])
    more = parsed.bad_count - min(NAMED, len(parsed.bad))
    return ApiError(
        "BAD_REQUEST",
        f"nothing was changed: {named}" + (f"; and {more} more" if more else ""),
        details={
            "rows": [{"line": each.line, "reason": each.reason, "text": each.text} for each in parsed.bad],
            "rows_bad": parsed.bad_count,
        },
    )


def _as_expected(changed_at: datetime | None, expected: datetime | None) -> datetime:
    """Return since when the roster is as it is; ApiError when there is none, or it is another than is expected."""
    if changed_at is None:
        raise no_race()
    if expected not in (None, changed_at):
        raise ApiError(
            "CONFLICT",
            "the race has other people or chips by now than you have seen; nothing was changed: look at them again",
            details={"roster_changed_at": changed_at.isoformat()},
        )
    return changed_at


async def _store(
    api: Api,
    race_id: UUID,
    kind: Kind,
    rows: Sequence[Any],
    *,
    kept_days: int,
    expected: datetime | None,
) -> datetime:
    async with api.changing() as (connection, note):
        # Held until the end: who imports at the same time waits here, and then sees what we did.
        _as_expected(await store.hold(connection, race_id), expected)
        replaced = await store.replace(connection, race_id, kind, rows, kept_days=kept_days)
        about = {"race": await races.name_of(connection, race_id), "race_id": race_id}
        await note(f"{kind}_imported", **about, count=len(rows))
        if replaced.kept_until is not None:
            # Nobody has asked for it: the setting has.
            until, because = replaced.kept_until.isoformat(), f"PARTICIPANTS_KEPT_DAYS={kept_days}"
            await note("participants_kept_until", **about, until=until, because=because)
    api.process.notifier.notify(RACES, str(race_id))
    return replaced.changed_at
