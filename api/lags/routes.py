"""How far behind receivers were over time."""

from api.http.context import Api
from api.lags import store
from api.lags.types import LagQuery, ReceiverLag, ReceiverLags

__all__ = ["list_lags"]

RECEIVERS = 24


async def list_lags(api: Api, *, query: LagQuery) -> ReceiverLags:
    """Show how far behind receivers were over time."""
    bins = query.hours * 3600 // store.BIN_S
    begins_at, total, found = await store.lags(api.pool, bins=bins, at_most=RECEIVERS)
    return ReceiverLags(
        begins_at=begins_at,
        bin_s=store.BIN_S,
        receivers=[ReceiverLag(**each._asdict()) for each in found],
        left_out=total - len(found),
    )
