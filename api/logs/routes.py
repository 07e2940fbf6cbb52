"""The activity log of the cluster."""

from api.http.context import Api
from api.logs import store
from api.logs.types import Logs

__all__ = ["list_logs"]

ENTRIES = 500


async def list_logs(api: Api) -> Logs:
    """Show the last 500 entries of the activity log, the newest first; however many devices make, of the others 200."""
    return Logs(entries=await store.latest(api.pool, ENTRIES))
