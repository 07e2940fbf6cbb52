"""What forwarders told of their readers, as it holds now (migrations/routines/reported.sql)."""

from collections.abc import Collection
from typing import NamedTuple

import msgspec
import orjson

from api.readers.types import LinkState, ReaderInfo, ReaderState
from shared.db.connections import Connection, Pool
from shared.db.errors import translated

__all__ = ["STATES", "Link", "Told", "links", "list_states", "told_of"]

# Devices decide how many readers they have had.
STATES = 10_000
# Of how many the event stream tells: those that changed last, and so all that are there.
LINKS = 2_000

_STATES = """
SELECT * FROM (
    SELECT forwarder_id, reader_ip, state, connected, reader_info, info_at, changed_at AS updated_at
    FROM reported_readers
    WHERE $2::text IS NULL OR forwarder_id = $2
    ORDER BY changed_at DESC
    LIMIT $1
) AS newest
ORDER BY forwarder_id, reader_ip
"""
# Without what is large: infos are read of those that have changed, and there are few of them at a time.
_LINKS = """
SELECT forwarder_id, reader_ip, state, version FROM reported_readers ORDER BY changed_at DESC LIMIT $1
"""
_TOLD = """
SELECT forwarder_id, reader_ip, reader_info, download
FROM reported_readers JOIN unnest($1::text[], $2::text[]) AS wanted(forwarder_id, reader_ip)
    USING (forwarder_id, reader_ip)
"""


class Link(NamedTuple):
    """How a forwarder's link to a reader stands. version: another one when anything that was told of it is."""

    state: LinkState
    version: int


class Told(NamedTuple):
    """What was told of a reader beside its link: its info, and how its download goes."""

    info: ReaderInfo | None
    download: dict[str, object] | None


async def list_states(pool: Pool, forwarder_id: str | None = None) -> list[ReaderState]:
    """Return the readers of which something was told, of all forwarders or of one, at most the newest STATES."""
    with translated():
        rows = await pool.fetch(_STATES, STATES, forwarder_id)
    return [ReaderState(**{**row, "reader_info": _info(row["reader_info"])}) for row in rows]


async def links(connection: "Connection | Pool") -> dict[tuple[str, str], Link]:
    """Return the links of readers, by forwarder and address, at most the newest LINKS."""
    with translated():
        rows = await connection.fetch(_LINKS, LINKS)
    return {(row["forwarder_id"], row["reader_ip"]): Link(row["state"], row["version"]) for row in rows}


async def told_of(pool: Pool, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Told]:
    """Return what was told of some readers, by forwarder and address."""
    if not keys:
        return {}
    forwarders, readers = zip(*keys, strict=True)
    with translated():
        rows = await pool.fetch(_TOLD, list(forwarders), list(readers))
    return {
        (row["forwarder_id"], row["reader_ip"]): Told(
            _info(row["reader_info"]), None if row["download"] is None else orjson.loads(row["download"])
        )
        for row in rows
    }


def _info(text: str | None) -> ReaderInfo | None:
    """Return a reader's info. Gateways have checked it; what one of a later release has put there may be another."""
    try:
        return None if text is None else msgspec.json.decode(text, type=ReaderInfo)
    except msgspec.ValidationError:
        return None
