"""What epochs are called, begun or not: by operators, by a forwarder of its own, by a race that begins."""

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["MOST_NAMES", "name_epoch", "name_epochs"]

# Of a stream: a device may name epochs, and there are two thousand million of them.
MOST_NAMES = 10_000

# $4: the name that is expected, where $5 says that one is; or it has the new one already. Without a name it has no row.
# $6: no more names than that.
_NAME_EPOCH = """
INSERT INTO epoch_names AS known (stream_id, stream_epoch, name)
SELECT stream_id, $2, $3 FROM streams
WHERE stream_id = $1
  AND (NOT $5::boolean OR $4::text IS NULL
       OR EXISTS (SELECT FROM epoch_names AS named WHERE named.stream_id = $1 AND named.stream_epoch = $2))
  AND (SELECT count(*) FROM epoch_names AS named WHERE named.stream_id = $1 AND named.stream_epoch <> $2) < $6
ON CONFLICT (stream_id, stream_epoch) DO UPDATE SET name = excluded.name, named_at = clock_timestamp()
WHERE NOT $5 OR known.name IN ($4, excluded.name)
RETURNING name
"""
_COUNT = "SELECT count(*) FROM epoch_names WHERE stream_id = $1 AND stream_epoch <> $2"
_CLEAR = """
WITH cleared AS (
    DELETE FROM epoch_names
    WHERE stream_id = $1 AND stream_epoch = $2 AND (NOT $4::boolean OR name = $3::text)
    RETURNING 1
)
SELECT EXISTS (SELECT FROM cleared)
       OR NOT EXISTS (SELECT FROM epoch_names WHERE stream_id = $1 AND stream_epoch = $2)
"""
_NAME_ALL = """
INSERT INTO epoch_names (stream_id, stream_epoch, name)
SELECT stream_id, begun.stream_epoch, $3
FROM unnest($1::uuid[], $2::bigint[]) AS begun(stream_id, stream_epoch) JOIN streams USING (stream_id)
ORDER BY stream_id
ON CONFLICT (stream_id, stream_epoch) DO UPDATE SET name = excluded.name, named_at = clock_timestamp()
"""


async def name_epoch(
    database: Statements,
    stream_id: UUID,
    epoch: int,
    name: str | None,
    *,
    expected: str | None,
    checked: bool,
) -> Literal["named", "otherwise", "full"]:
    """Call an epoch something, or nothing. otherwise: its name is not the expected one, where that is checked; full:
    the stream has as many names as it may have.
    """
    with translated():
        if name is None:
            cleared = await database.fetchval(_CLEAR, stream_id, epoch, expected, checked)
            return "named" if cleared else "otherwise"
        arguments = stream_id, epoch, name, expected, checked, MOST_NAMES
        if await database.fetchval(_NAME_EPOCH, *arguments) is not None:
            return "named"
        return "full" if await database.fetchval(_COUNT, stream_id, epoch) >= MOST_NAMES else "otherwise"


async def name_epochs(database: Statements, epochs: Mapping[UUID, int], name: str) -> None:
    """Call one epoch of each of some streams the same."""
    with translated():
        await database.execute(_NAME_ALL, list(epochs), list(epochs.values()), name)
