"""Whole exports: the events of a stream as COPY makes them, of one snapshot."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal
from uuid import UUID

from asyncpg.protocol import NO_TIMEOUT

from api.events.filter import WANTED, arguments
from api.events.types import EventFilter
from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["COPIES", "begin_snapshot", "copy_events"]

# A line is bytes, and text cannot hold NUL: lines leave as encode() escapes them, NUL and bytes from 0x80 on as \ooo,
# the backslash doubled, everything else as it is. So the texts beside them have their backslashes doubled, too.
_TEXT_ROW = "SELECT encode(shown_line(raw_frame, framed), 'escape')"

_CSV_ROW = r"""
SELECT stream_epoch, seq, replace(reader_timestamp, '\', '\\'), encode(shown_line(raw_frame, framed), 'escape'),
       replace(read_type, '\', '\\')
"""

COPIES = {
    "csv": f"{_CSV_ROW}{WANTED}ORDER BY stream_epoch, seq",
    "text": f"{_TEXT_ROW}{WANTED}ORDER BY stream_epoch, seq",
}

# It ends with its connection.
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def copy_events(
    connection: Connection,
    form: Literal["csv", "text"],
    stream_id: UUID,
    wanted: EventFilter,
    *,
    output: Callable[[bytes], Coroutine[Any, Any, None]],
) -> None:
    """Hand the events of one snapshot to `output`, whole rows at a time, escaped as COPIES says (and once more by
    COPY's own rules, in form `text`); no more is read while `output` takes its time. It sets its own time limits.
    """
    with translated():
        await connection.copy_from_query(
            COPIES[form],
            *arguments(stream_id, wanted, order="asc", after=None),
            output=output,
            format=form,
            null=r"\N",
            timeout=NO_TIMEOUT,  # type: ignore[arg-type]  # what asyncpg takes for none; None is the pool's
        )


async def begin_snapshot(connection: Connection) -> None:
    """Let everything that this connection reads from now on be of one moment."""
    with translated():
        await connection.execute(_BEGIN_SNAPSHOT)
