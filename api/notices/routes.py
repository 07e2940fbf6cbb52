"""What people were told of alerts."""

from collections.abc import Sequence
from typing import NamedTuple

from api.http.context import Api
from api.notices import store
from api.notices.types import Notices

__all__ = ["Recipients", "list_notices"]


class Recipients(NamedTuple):
    """Whom this process tells, by the names of the addresses."""

    names: Sequence[str]


async def list_notices(api: Api) -> Notices:
    """List the notices of alerts that people were sent, or were not, the newest 100 first."""
    return Notices(to=list(api.part(Recipients).names), notices=await store.newest(api.pool))
