"""Whole exports: the events of a stream as COPY makes them, of one snapshot."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal
from uuid import UUID

from asyncpg.protocol import NO_TIMEOUT

from api.clocks.corrected import COLUMN
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

# Per epoch, as timing software knows it: the chip stands behind the line.
_EPOCH_ROW = _CSV_ROW.rstrip() + ", coalesce(tag_id, '')"

# Whose the chip is, by the race of the read (migrations/routines/segments.sql). Each look is by a key, in the order of
# the events: nothing is gathered or sorted, however long the stream is.
_PEOPLE = r"""
, coalesce(owner.bib::text, ''), coalesce(replace(person.last_name, '\', '\\'), ''),
  coalesce(replace(person.first_name, '\', '\\'), '')
"""
_PLAIN = f"{WANTED}ORDER BY stream_epoch, seq"
_NAMED = f"""
FROM (SELECT * {_PLAIN}) AS events
CROSS JOIN LATERAL race_of_read(events.stream_id, events.stream_epoch, events.seq) AS race
LEFT JOIN LATERAL (
    SELECT bib FROM chips WHERE chips.race_id = race.race_id AND chip_id = events.tag_id AND is_owner LIMIT 1
) AS owner ON true
LEFT JOIN LATERAL (
    SELECT first_name, last_name FROM participants AS one
    WHERE one.race_id = race.race_id AND one.bib = owner.bib LIMIT 1
) AS person ON true
ORDER BY stream_epoch, seq
"""  # noqa: S608 - of constants only


def _csv(row: str, *, people: bool, corrected: bool) -> str:
    """Return the statement of a CSV: its rows, with whose each is and when it was really made behind them, if asked."""
    columns = [row.rstrip(), *([_PEOPLE] if people else ()), *([f", {COLUMN}"] if corrected else ())]
    return "".join(columns) + (_NAMED if people else _PLAIN)


COPIES = {
    f"{name}{' with people' if people else ''}{', corrected' if corrected else ''}": _csv(
        row, people=people, corrected=corrected
    )
    for name, row in (("csv", _CSV_ROW), ("epoch csv", _EPOCH_ROW))
    for people in (False, True)
    for corrected in (False, True)
} | {"text": f"{_TEXT_ROW}{_PLAIN}"}

# It ends with its connection.
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def copy_events(
    connection: Connection,
    rows: str,
    form: Literal["csv", "text"],
    stream_id: UUID,
    wanted: EventFilter,
    *,
    output: Callable[[bytes], Coroutine[Any, Any, None]],
) -> None:
    """Hand the events of one snapshot to `output`, whole `rows` of COPIES at a time, escaped as COPIES says (and once
    more by COPY's own rules, in form `text`); no more is read while `output` takes its time. It sets its own time
    limits.
    """
    with translated():
        await connection.copy_from_query(
            COPIES[rows],
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
