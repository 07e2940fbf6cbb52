"""The activity log, along its key."""

import orjson

from api.messages.logs import LogEntry
from shared.database import Pool
from shared.errors import translated

__all__ = ["LATEST", "latest"]

LATEST = """
SELECT activity_id, at, level, process_id, event, fields
FROM activity
ORDER BY activity_id DESC
LIMIT $1
"""


async def latest(pool: Pool, limit: int) -> list[LogEntry]:
    """Return the newest entries, the newest first."""
    with translated():
        rows = await pool.fetch(LATEST, limit)
    return [LogEntry(**{**row, "fields": orjson.loads(row["fields"])}) for row in rows]
