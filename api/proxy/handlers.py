"""The table of what receivers may ask, and who answers: handlers of HTTP routes, each called as its route calls it.

A handler here takes what a request holds and returns what its response holds beside `ok` and `error`, None where that
is all. What it refuses it refuses as over HTTP, with the same words. A kind of shared/protocol/requests.py that has no
handler here is not available yet.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from api.commands import routes as commands
from api.commands.types import ConfigQuery, ControlPath, ForwarderPath, Payload, RestartRequest, SectionPath
from api.http.context import Api
from api.http.types import DeviceId, Name
from api.proxy import announcer, races
from api.readers import routes as readers
from api.readers.types import ReaderPath, StatesQuery
from api.streams import routes as streams
from shared.protocol.commands import Action

__all__ = ["HANDLERS", "Fields", "Handler"]

# bytes: the fields as JSON, where they were made as that.
Fields: TypeAlias = Mapping[str, object] | bytes | None
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


class OfDevice(OfForwarder):
    """What a forwarder's machine is to do."""

    action: Literal["restart_device", "shutdown_device"]


class OfReader(OfForwarder):
    """What a reader behind a forwarder is to do."""

    reader_ip: str
    action: Action


_ACTIONS: Mapping[str, Literal["restart-device", "shutdown-device"]] = {
    "restart_device": "restart-device",
    "shutdown_device": "shutdown-device",
}


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


async def device_control(api: Api, asked: OfDevice) -> Fields:
    """Restart a forwarder's machine, or switch it off."""
    path = ControlPath(forwarder_id=asked.forwarder_id, action=_ACTIONS[asked.action])
    await commands.control_forwarder(api, path=path)
    return None


async def reader_control(api: Api, asked: OfReader) -> Fields:
    """Have a forwarder do something with its reader."""
    path = ReaderPath(forwarder_id=asked.forwarder_id, reader_ip=asked.reader_ip)
    answer = await readers.control_reader(api, path, asked.action)
    return {"reader_info": answer.reader_info}


async def streams_list(api: Api, _asked: Nothing) -> Fields:
    """List the streams. A reader of which nothing was told is there while its forwarder is."""
    listed = (await streams.list_streams(api)).streams
    states = (await readers.list_reader_states(api, query=StatesQuery())).reader_states
    told = {(each.forwarder_id, each.reader_ip): each.connected for each in states}
    return {
        "streams": [
            {
                "stream_id": stream.stream_id,
                "forwarder_id": stream.forwarder_id,
                "reader_ip": stream.reader_ip,
                "display_alias": stream.display_alias,
                "stream_epoch": stream.stream_epoch,
                "online": stream.online,
                "reader_connected": told.get((stream.forwarder_id, stream.reader_ip), stream.online),
            }
            for stream in listed
        ]
    }


# By the names of their kinds.
HANDLERS: Mapping[str, Handler] = {
    "config_get": config_get,
    "config_set": config_set,
    "device_control": device_control,
    "reader_control": reader_control,
    "restart": restart,
    "streams_list": streams_list,
    **announcer.HANDLERS,
    **races.HANDLERS,
}
