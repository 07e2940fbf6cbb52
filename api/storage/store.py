"""The database about itself: what waits in it, its size, its disk, its connections. Nothing here writes."""

import os
import shutil
from time import monotonic
from typing import Any

from api.storage.facts import UNSEEN, StorageFacts
from shared.db.connections import Connection
from shared.db.errors import DISK_FULL, translated

__all__ = ["MOUNTED", "disk", "storage"]

# Postgres tells only superusers where its data lie, and nobody how much room is left there: no function of it does,
# short of running a program. So compose mounts its volume here, to be measured; whoever runs Postgres elsewhere may
# mount what lies on its disk. The data in it are another user's, and closed to us.
MOUNTED = "/database-disk"

# A problem counts where its writer stores nothing, or where it is a full disk, whoever says so. The states can be
# looked at since the oldest process of the api has been there: before, there was nobody who could be late.
# data_directory is shown to superusers, and of use where the server is this machine.
_STORAGE = """
SELECT workers.writers, workers.storing, workers.problem, workers.commit_ms, workers.stored_per_second, workers.unseen,
       inbox.parts AS waiting_parts,
       coalesce(extract(epoch FROM now() - inbox.oldest), 0)::float AS waiting_s,
       pg_database_size(current_database()) AS size_bytes,
       (SELECT sum(numbackends) FROM pg_stat_database)::integer AS connections,
       current_setting('max_connections')::integer AS connections_max,
       (SELECT greatest(evaluated_at, workers.began_at) FROM evaluation) AS evaluated_at,
       CASE WHEN inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1'
            THEN (SELECT setting FROM pg_settings WHERE name = 'data_directory') END AS directory
FROM (
    SELECT coalesce(min(started_at) FILTER (WHERE role = 'api'), now()) AS began_at,
           count(*) FILTER (WHERE role = 'writer') AS writers,
           count(*) FILTER (WHERE role = 'writer' AND ready) AS storing,
           max(commit_ms) FILTER (WHERE role = 'writer')::float AS commit_ms,
           coalesce(sum(events_per_second) FILTER (WHERE role = 'writer'), 0)::float AS stored_per_second,
           min(problem) FILTER (WHERE role = 'api' AND strpos(problem, $2) > 0) AS unseen,
           (array_agg(problem ORDER BY role <> 'writer', problem)
            FILTER (WHERE strpos(problem, $1) > 0 OR (role = 'writer' AND NOT ready)))[1] AS problem
    FROM live_processes
) AS workers
CROSS JOIN (SELECT count(*) AS parts, min(received_at) AS oldest FROM inbox) AS inbox
"""


async def storage(connection: "Connection | Any") -> StorageFacts:
    """Return what is known of the database now."""
    began = monotonic()
    with translated():
        row = await connection.fetchrow(_STORAGE, DISK_FULL, UNSEEN)
    if row is None:
        raise RuntimeError("one row always comes")
    fields = dict(row)
    total, free = disk(fields.pop("directory"))
    answer_ms = round((monotonic() - began) * 1000, 1)
    return StorageFacts(**fields, disk_bytes=total, free_bytes=free, answer_ms=answer_ms)


def disk(directory: str | None) -> tuple[int | None, int | None]:
    """Return size and free bytes of the disk below the data directory, if that is ours to see, or of the one that is
    mounted for it; None where neither is.
    """
    for place in (directory, MOUNTED if os.path.ismount(MOUNTED) else None):
        try:
            if place is not None:
                usage = shutil.disk_usage(place)
                return usage.total, usage.free
        except OSError:
            continue
    return None, None
