"""The table of what receivers may ask, and who answers: handlers of HTTP routes, each called as its route calls it.

A handler here takes what a request holds and returns what its response holds beside `ok` and `error`, None where that
is all. What it refuses it refuses as over HTTP, with the same words. A kind of shared/protocol/proxies.py that has no
handler here is not available yet.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from api.commands import routes as commands
from api.commands.types import ConfigQuery, ForwarderPath, Payload, RestartRequest, SectionPath
from api.http.context import Api
from api.http.types import DeviceId, Name
from api.streams import routes as streams
from api.streams.types import Stream

__all__ = ["HANDLERS", "Fields", "Handler"]

Fields: TypeAlias = Mapping[str, object] | None
Handler: TypeAlias = Callable[[Api, Any], Awaitable[Fields]]


class Nothing(msgspec.Struct):
    """A request that says all by its kind. In all of these, fields that we do not know are ignored."""


class OfForwarder(msgspec.Struct):
    """A request about one forwarder."""

    forwarder_id: DeviceId


class OfSection(OfForwarder):
    """A section of a forwarder's configuration, as it is to be."""

    section: Name
    payload: Payload


async def config_get(api: Api, asked: OfForwarder) -> Fields:
    """Show a forwarder's configuration."""
    answer = await commands.read_config(api, path=ForwarderPath(forwarder_id=asked.forwarder_id))
    return {"config": answer.config, "restart_needed": answer.restart_needed}


async def config_set(api: Api, asked: OfSection) -> Fields:
    """Change a section of it."""
    path = SectionPath(forwarder_id=asked.forwarder_id, section=asked.section)
    answer = await commands.write_config(api, path=path, query=ConfigQuery(), body=asked.payload)
    return {"restart_needed": answer.restart_needed}


async def restart(api: Api, asked: OfForwarder) -> Fields:
    """Restart a forwarder's service."""
    path = ForwarderPath(forwarder_id=asked.forwarder_id)
    await commands.restart_forwarder(api, path=path, body=RestartRequest())
    return None


async def streams_list(api: Api, _asked: Nothing) -> Fields:
    """List the streams."""
    return {"streams": [_listed(stream) for stream in (await streams.list_streams(api)).streams]}


def _listed(stream: Stream) -> dict[str, object]:
    """Return a stream as devices know it. A reader of which nothing was told is there while its forwarder is."""
    return {
        "stream_id": stream.stream_id,
        "forwarder_id": stream.forwarder_id,
        "reader_ip": stream.reader_ip,
        "display_alias": stream.display_alias,
        "stream_epoch": stream.stream_epoch,
        "online": stream.online,
        "reader_connected": stream.online,
    }


# By the names of their kinds.
HANDLERS: Mapping[str, Handler] = {
    "config_get": config_get,
    "config_set": config_set,
    "restart": restart,
    "streams_list": streams_list,
}
