"""What newer forwarders tell of their readers and batteries, and which readers clear their memory."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = [
    "LinkState",
    "Power",
    "ReaderState",
    "UpsState",
    "begin_clearing",
    "end_clearing",
    "is_clearing",
    "note_readers",
    "note_ups",
]

# How a forwarder's link to a reader stands.
LinkState: TypeAlias = Literal["connected", "connecting", "disconnected"]

# By functions (migrations/routines/devices.sql): who else writes waits for the version that they hand out.
_NOTE_READERS = """
SELECT note_readers($1, $2, $3, $4, $5, $6::text[]::jsonb[], $7::text[]::jsonb[]) AS forwarder_id
"""
_NOTE_UPS = "SELECT * FROM note_ups($1, $2, $3, $4::text[]::jsonb[])"

_BEGIN_CLEARING = """
INSERT INTO clearing_readers (forwarder_id, reader_ip, clearing_until)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (forwarder_id, reader_ip) DO UPDATE SET clearing_until = excluded.clearing_until
"""
_END_CLEARING = """
UPDATE clearing_readers SET clearing_until = '-infinity' WHERE forwarder_id = $1 AND reader_ip = $2
"""
_IS_CLEARING = """
SELECT EXISTS (
    SELECT FROM clearing_readers
    WHERE forwarder_id = $1 AND reader_ip = $2 AND clearing_until > clock_timestamp()
)
"""


class ReaderState(NamedTuple):
    """What a session told of a reader; None: it did not. info, download: JSON."""

    forwarder_id: str
    reader_ip: str
    session_id: UUID
    connected: bool | None = None
    state: LinkState | None = None
    info: str | None = None
    download: str | None = None


class UpsState(NamedTuple):
    """What a session told of its forwarder's battery. status: JSON."""

    forwarder_id: str
    session_id: UUID
    available: bool
    status: str | None


class Power(NamedTuple):
    """Whether a forwarder's power was plugged when it was last told of, and is now; None: nothing is known of it."""

    forwarder_id: str
    was_plugged: bool | None
    is_plugged: bool | None
    battery_percent: int | None


async def note_readers(pool: Pool, states: Sequence[ReaderState]) -> list[str]:
    """Write the newest of each reader, once each, as far as their sessions have the devices; return the forwarders of
    which something is another than before.
    """
    columns = [list(column) for column in zip(*states, strict=True)]
    with translated():
        return [row["forwarder_id"] for row in await pool.fetch(_NOTE_READERS, *columns)]


async def note_ups(pool: Pool, states: Sequence[UpsState]) -> list[Power]:
    """Write the newest of each forwarder's battery, once each, as far as their sessions have the devices; return what
    was written.
    """
    columns = [list(column) for column in zip(*states, strict=True)]
    with translated():
        return [Power(*row) for row in await pool.fetch(_NOTE_UPS, *columns)]


async def begin_clearing(pool: Pool, forwarder_id: str, reader_ip: str, *, for_s: float) -> None:
    """Note that a reader clears its memory from now on."""
    with translated():
        await pool.execute(_BEGIN_CLEARING, forwarder_id, reader_ip, for_s)


async def end_clearing(pool: Pool, forwarder_id: str, reader_ip: str) -> None:
    """Note that it does not: it has refused."""
    with translated():
        await pool.execute(_END_CLEARING, forwarder_id, reader_ip)


async def is_clearing(pool: Pool, forwarder_id: str, reader_ip: str) -> bool:
    """Whether a reader clears its memory, as far as we know."""
    with translated():
        return bool(await pool.fetchval(_IS_CLEARING, forwarder_id, reader_ip))
