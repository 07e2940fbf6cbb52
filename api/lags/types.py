"""How far behind receivers were over time."""

from typing import Annotated

from msgspec import Meta

from api.http.types import Answer, Request, Time

__all__ = ["LagQuery", "ReceiverLag", "ReceiverLags"]


class LagQuery(Request):
    """Of how many hours up to now."""

    hours: Annotated[int, Meta(ge=1, le=12)] = 12


class ReceiverLag(Answer):
    """A receiver: how many seconds ago the oldest read was received that it had not acked, at the worst moment of each
    bin; 0 where it had everything, null where nobody looked. worst_seconds: of all bins.
    """

    receiver_id: str
    connected: bool
    seconds: list[float | None]
    worst_seconds: float | None


class ReceiverLags(Answer):
    """How far behind receivers were over time, in bins of `bin_s` seconds from `begins_at` on, of which the last one is
    under way; those first that were furthest behind. left_out: so many have no room here.
    """

    begins_at: Time
    bin_s: int
    receivers: list[ReceiverLag]
    left_out: int
