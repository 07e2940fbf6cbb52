"""The activity log, along its key."""

import orjson

from api.logs.types import LogEntry
from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["LATEST", "latest"]

# The newest $1, of which the operators' and the servers' own have up to two fifths for themselves, however many entries
# devices make.
LATEST = """
SELECT activity_id, at, level, process_id, event, fields
FROM (
    SELECT * FROM (
        SELECT own.*, row_number() OVER (ORDER BY activity_id DESC) <= $1 * 2 / 5 AS reserved
        FROM (SELECT * FROM activity WHERE of_device IS NOT TRUE ORDER BY activity_id DESC LIMIT $1) AS own
        UNION ALL
        SELECT of_devices.*, false
        FROM (SELECT * FROM activity WHERE of_device ORDER BY activity_id DESC LIMIT $1) AS of_devices
    ) AS either
    ORDER BY reserved DESC, activity_id DESC
    LIMIT $1
) AS shown
ORDER BY activity_id DESC
"""


async def latest(pool: Pool, limit: int) -> list[LogEntry]:
    """Return the newest entries, the newest first."""
    with translated():
        rows = await pool.fetch(LATEST, limit)
    return [LogEntry(**{**row, "fields": orjson.loads(row["fields"])}) for row in rows]
