"""What devices ask with tokens of their own: the routes in DEVICE_ROUTES, and no other (http-api.md, section 2.4).

A device's token opens nothing that the operators' token would not open, and is looked up only where that one was not
shown and the route is one of these: no other request costs a look at the database before it is admitted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias
from uuid import UUID

from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import Process
from shared.transport.tokens import DeviceType, authenticate

__all__ = ["DEVICE_ROUTES", "Device", "Identify", "by_token"]

WITHIN_S = 10.0

_STREAM = "/api/v1/streams/{stream_id}"
_RACE = "/api/v1/races/{race_id}"

# Method and path, as in the table of routes, and the kinds of devices that may ask. HEAD goes with GET.
DEVICE_ROUTES: Mapping[tuple[str, str], frozenset[DeviceType]] = {
    ("GET", "/api/v1/streams"): frozenset({"forwarder", "receiver"}),
    ("GET", _STREAM + "/epochs"): frozenset({"receiver"}),
    # Of its own streams: the handler sees to that.
    ("PUT", _STREAM + "/epochs/{epoch}/name"): frozenset({"forwarder"}),
    ("GET", "/api/v1/events"): frozenset({"receiver"}),
    ("GET", "/api/v1/forwarders"): frozenset({"receiver"}),
    ("GET", "/api/v1/forwarder-races"): frozenset({"receiver"}),
    ("GET", "/api/v1/races"): frozenset({"receiver"}),
    ("GET", _RACE + "/participants"): frozenset({"receiver"}),
    ("GET", _RACE + "/stream-epochs"): frozenset({"receiver"}),
}


class Device(NamedTuple):
    """Who shows a device's token."""

    device_type: DeviceType
    device_id: str
    token_id: UUID


# Takes method, path as in the table of routes and the header Authorization; None: no device may ask this, or none does.
Identify: TypeAlias = Callable[[str, str, str], Awaitable[Device | None]]


def by_token(process: Process) -> Identify:
    """Return what says which device asks, by the tokens in the database; it raises DatabaseUnavailable."""

    async def identify(method: str, path: str, authorization: str) -> Device | None:
        asked = "GET" if method == "HEAD" else method
        for device_type in sorted(DEVICE_ROUTES.get((asked, path), ())):
            if process.presence.problem is not None:
                raise DatabaseUnavailable(process.presence.problem)
            try:
                async with asyncio.timeout(WITHIN_S):
                    found = await authenticate(process.pool, authorization, device_type)
            except TimeoutError as error:
                raise DatabaseUnavailable("no answer in time") from error
            if found is not None:
                return Device(device_type, found.device_id, found.token_id)
        return None

    return identify
