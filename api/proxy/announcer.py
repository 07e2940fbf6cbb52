"""What receivers ask about the announcer: the handlers of the HTTP routes, each called as its route calls it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from api.announcer import routes as announcer
from api.announcer.types import NewAnnouncerConfig
from api.http.context import Api

__all__ = ["HANDLERS"]


class Nothing(msgspec.Struct):
    """A request that says all by its kind. In all of these, fields that we do not know are ignored."""


class OfConfig(msgspec.Struct):
    """How the announcer is to be: what the HTTP route takes."""

    payload: NewAnnouncerConfig


async def config_get(api: Api, _asked: Nothing) -> Mapping[str, object]:
    """Show how the announcer is set."""
    return {"config": await announcer.show_announcer_config(api)}


async def config_set(api: Api, asked: OfConfig) -> Mapping[str, object]:
    """Set it."""
    return {"config": await announcer.set_announcer_config(api, body=asked.payload)}


async def reset(api: Api, _asked: Nothing) -> None:
    """Begin a run."""
    await announcer.reset_announcer(api)


# By the names of their kinds.
HANDLERS: Mapping[str, Any] = {
    "announcer_config_get": config_get,
    "announcer_config_set": config_set,
    "announcer_reset": reset,
}
