"""What receivers ask about races: the handlers of the HTTP routes, each called as its route calls it."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

import msgspec

from api.commands.types import ForwarderPath
from api.http.context import Api
from api.http.types import DeviceId, RaceName
from api.races import mapping_routes as mappings
from api.races import routes as races
from api.races.rosters import import_file
from api.races.types import NewRace, RacePath, WantedRace

__all__ = ["HANDLERS"]


class Nothing(msgspec.Struct):
    """A request that says all by its kind. In all of these, fields that we do not know are ignored."""


class OfRace(msgspec.Struct):
    """A request about one race."""

    race_id: UUID


class Named(msgspec.Struct):
    """What to call a new race."""

    name: RaceName


class OfFile(OfRace):
    """A file of a race, in base64; its name is nothing to us."""

    upload_type: Literal["participants", "chips"]
    file_data: bytes


class OfForwarder(msgspec.Struct):
    """A request about one forwarder."""

    forwarder_id: DeviceId


class OfAssignment(OfForwarder):
    """The race of a forwarder; null, or left out: none."""

    race_id: UUID | None = None


async def races_list(api: Api, _asked: Nothing) -> Mapping[str, object]:
    """List the races."""
    return {"races": (await races.list_races(api)).races}


async def race_create(api: Api, asked: Named) -> Mapping[str, object]:
    """Make a race."""
    return {"race": await races.create_race(api, body=NewRace(name=asked.name))}


async def race_delete(api: Api, asked: OfRace) -> None:
    """Delete a race."""
    await races.delete_race(api, path=RacePath(race_id=asked.race_id))


async def participants_get(api: Api, asked: OfRace) -> bytes:
    """Show who runs in a race, as the JSON that the database has made of it."""
    return (await races.list_participants(api, path=RacePath(race_id=asked.race_id))).body


async def file_upload(api: Api, asked: OfFile) -> Mapping[str, object]:
    """Let a race have the people or chips of a file, and no others."""

    async def content() -> bytes:
        return asked.file_data

    imported = await import_file(api, asked.race_id, asked.upload_type, content)
    return {"imported": imported.imported}


async def forwarder_race_get(api: Api, asked: OfForwarder) -> Mapping[str, object]:
    """Show the race of a forwarder."""
    found = await mappings.show_assignment(api, path=ForwarderPath(forwarder_id=asked.forwarder_id))
    return {"race_id": found.race_id}


async def forwarder_race_set(api: Api, asked: OfAssignment) -> Mapping[str, object]:
    """Give a forwarder a race, or none."""
    path, body = ForwarderPath(forwarder_id=asked.forwarder_id), WantedRace(race_id=asked.race_id)
    return {"race_id": (await mappings.assign_race(api, path=path, body=body)).race_id}


# By the names of their kinds.
HANDLERS: Mapping[str, Any] = {
    "races_list": races_list,
    "race_create": race_create,
    "race_delete": race_delete,
    "participants_get": participants_get,
    "file_upload": file_upload,
    "forwarder_race_get": forwarder_race_get,
    "forwarder_race_set": forwarder_race_set,
}
