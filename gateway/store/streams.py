"""Streams: made for the readers that a forwarder names, renamed with it, moved on to a new epoch by command."""

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Connection, Pool
from shared.db.errors import translated
from shared.protocol.memory import is_memory

__all__ = [
    "EpochsStored",
    "commanded_epoch",
    "epochs_stored",
    "next_epoch",
    "next_epoch_of_race",
    "register_streams",
    "rename_forwarder",
]

# Sorted, so that two sessions that register the same readers take their locks in the same order.
_REGISTER = """
INSERT INTO streams (forwarder_id, reader_ip, forwarder_display_name)
SELECT DISTINCT $1, named.reader_ip, $3 FROM unnest($2::text[]) AS named(reader_ip)
ORDER BY named.reader_ip
ON CONFLICT (forwarder_id, reader_ip) DO NOTHING
"""
_IN_USE = "SELECT readers_in_use($1)"
_STREAMS = "SELECT reader_ip, stream_id FROM streams WHERE forwarder_id = $1 AND reader_ip = ANY($2::text[])"

# By functions (migrations/routines/streams.sql): a gateway has no right to change a stream, and so none to hold one.
_RENAME = "SELECT rename_forwarder($1, $2)"
_EPOCHS_STORED = "SELECT epoch_count, known, commanded FROM epochs_of_forwarder($1, $2, $3)"
_NEXT_EPOCH = "SELECT reserve_epoch($1, $2, $3, $4)"
_NEXT_EPOCH_OF_RACE = "SELECT reserve_race_epoch($1, $2, $3, $4, $5)"
# While a session has the device nobody but that session reserves.
_COMMANDED = """
SELECT coalesce(streams.commanded_epoch, 0)
FROM streams JOIN forwarder_sessions AS held USING (forwarder_id)
WHERE streams.stream_id = $1 AND held.session_id = $2 AND held.ended_at IS NULL
"""


async def register_streams(
    pool: Pool,
    forwarder_id: str,
    reader_ips: Iterable[str],
    display_name: str | None,
    *,
    at_most: int | None = None,
) -> dict[str, UUID]:
    """Make the streams that do not exist yet and return the ids of all, by reader_ip.

    at_most: a device names them, and may have so many: of those that would be more no stream is made, nor is it
    returned. Two sessions of a device that follow each other at that moment may make some more. Nor of a name that only
    what a memory had is called by: that is numbered by us, and a device that did so too would be in conflict with it.
    """
    named = [each for each in dict.fromkeys(reader_ips) if at_most is None or not is_memory(each)]
    with translated():
        found = await _streams(pool, forwarder_id, named)
        if at_most is not None and len(found) < len(named):
            room = max(0, at_most - await pool.fetchval(_IN_USE, forwarder_id))
            named = [*found, *[reader_ip for reader_ip in named if reader_ip not in found][:room]]
        # Not once but until they are there: an administrator may delete them in between.
        while len(found) < len(named):
            await pool.execute(_REGISTER, forwarder_id, named, display_name)
            found = await _streams(pool, forwarder_id, named)
    return found


async def _streams(pool: Pool, forwarder_id: str, reader_ips: list[str]) -> dict[str, UUID]:
    rows = await pool.fetch(_STREAMS, forwarder_id, reader_ips)
    return {row["reader_ip"]: row["stream_id"] for row in rows}


async def rename_forwarder(pool: Pool, forwarder_id: str, display_name: str | None) -> None:
    """Set the display name on all streams of a forwarder; None clears it."""
    with translated():
        await pool.execute(_RENAME, forwarder_id, display_name)


class EpochsStored(NamedTuple):
    """How many epochs of a forwarder have reads, and which of those that were asked for: have some, were commanded."""

    total: int
    known: Set[tuple[str, int]]
    commanded: Set[tuple[str, int]]


async def epochs_stored(
    pool: "Pool | Connection",
    forwarder_id: str,
    asked: Iterable[tuple[str, int]],
    streams: Mapping[str, UUID],
) -> EpochsStored:
    """Return what is known of epochs of a forwarder's readers; of one that has no stream, nothing."""
    named = [epoch for epoch in asked if epoch[0] in streams]
    ids = [streams[reader_ip] for reader_ip, _ in named]
    with translated():
        (row,) = await pool.fetch(_EPOCHS_STORED, forwarder_id, ids, [epoch for _, epoch in named])
    known, commanded = (
        {epoch for epoch, is_so in zip(named, row[column], strict=True) if is_so}
        for column in ("known", "commanded")
    )
    return EpochsStored(row["epoch_count"], known, commanded)


async def commanded_epoch(pool: Pool, stream_id: UUID, *, session_id: UUID) -> int | None:
    """Return the highest epoch that was ever reserved of a stream, 0 for none; None when the session has lost the
    device, or there is no such stream.
    """
    with translated():
        epoch: int | None = await pool.fetchval(_COMMANDED, stream_id, session_id)
    return epoch


async def next_epoch(
    pool: Pool, stream_id: UUID, *, seen: int, session_id: UUID, unless_beyond: int | None = None
) -> int | None:
    """Reserve the epoch above everything seen or ever commanded of a stream.

    seen: the highest epoch that the session has had of it, stored or not. None when there is no higher one, no such
    stream, when the session has lost the device, or when the reader was commanded beyond `unless_beyond` before. It is
    committed before the device is told: an epoch that is reserved in vain costs nothing, one that is commanded
    twice costs reads (protocol.md, section 6.1).
    """
    with translated():
        epoch: int | None = await pool.fetchval(_NEXT_EPOCH, stream_id, seen, session_id, unless_beyond)
    return epoch


async def next_epoch_of_race(
    pool: Pool,
    stream_id: UUID,
    race_id: UUID,
    *,
    seen: int,
    session_id: UUID,
    unless_beyond: int | None = None,
) -> int | None:
    """The same, of an epoch that is a race's from its first moment on; None also when there is no such race."""
    with translated():
        epoch: int | None = await pool.fetchval(
            _NEXT_EPOCH_OF_RACE, stream_id, seen, session_id, race_id, unless_beyond
        )
    return epoch
