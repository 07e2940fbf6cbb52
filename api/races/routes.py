"""Races and who runs in them."""

from typing import Any
from uuid import UUID

from msgspec import UNSET

from api.http.context import Api
from api.http.contract import Encoded, Upload
from api.http.errors import ApiError
from api.races.rosters import MOST_BYTES, Kind, import_file, no_race
from api.races.store import races as store
from api.races.store import roster
from api.races.types import (
    Imported,
    NewRace,
    ParticipantPath,
    Race,
    RaceDetails,
    RacePatch,
    RacePath,
    Races,
    Roster,
    UnknownChips,
    UploadQuery,
)
from shared.db.channels import RACES

__all__ = [
    "create_race",
    "delete_all_races",
    "delete_race",
    "import_chips",
    "import_participants",
    "list_participants",
    "list_races",
    "list_unknown_chips",
    "patch_race",
    "remove_participant",
    "show_race",
]

_FOLLOWED = "a receiver follows {what} at the moment; have it follow something else, then delete"


async def list_races(api: Api) -> Races:
    """List the races, the newest first."""
    return Races(races=await store.list_races(api.pool))


async def create_race(api: Api, *, body: NewRace) -> Race:
    """Make a race."""
    race = await store.add(api.pool, _named(body.name))
    if race is None:
        raise ApiError("CONFLICT", f"there are {store.MOST_RACES} races already; delete one that is over")
    _tell(api, "race_created", race.race_id, race.name)
    return race


async def show_race(api: Api, *, path: RacePath) -> RaceDetails:
    """Show a race, and what belongs to it."""
    race = await store.details(api.pool, path.race_id)
    if race is None:
        raise no_race()
    return race


async def patch_race(api: Api, *, path: RacePath, body: RacePatch) -> Race:
    """Give a race another name, or another time at which its people are removed."""
    name = None if body.name is UNSET else _named(body.name)
    has_until = body.participants_until is not UNSET
    until = body.participants_until if has_until else None
    before = await store.patch(
        api.pool, path.race_id, name=name, participants_until=until or None, has_until=has_until
    )
    race = await store.find(api.pool, path.race_id)
    if before is None or race is None:
        raise no_race()
    if name is not None and name != before:
        _tell(api, "race_renamed", path.race_id, before, name=name)
    if has_until:
        at = None if race.participants_until is None else race.participants_until.isoformat()
        _tell(api, "participants_kept_until", path.race_id, race.name, until=at)
    return race


async def delete_race(api: Api, *, path: RacePath) -> None:
    """Delete a race with its people, chips and mappings; reads and names of epochs stay."""
    name = await store.name_of(api.pool, path.race_id)
    outcome = await store.delete(api.pool, path.race_id)
    if outcome == "followed":
        raise ApiError("CONFLICT", _FOLLOWED.format(what="this race"))
    if outcome == "absent":
        raise no_race()
    _tell(api, "race_deleted", path.race_id, name)


async def delete_all_races(api: Api) -> None:
    """Delete all races, or none of them."""
    outcome = await store.delete(api.pool, None)
    if outcome == "followed":
        raise ApiError("CONFLICT", _FOLLOWED.format(what="one of the races"))
    if outcome == "deleted":
        api.process.notifier.notify(RACES)
        api.note("races_deleted")


async def list_participants(api: Api, *, path: RacePath) -> Encoded[Roster]:
    """Show who runs in a race, and which of its chips something is wrong with."""
    found = await roster.roster(api.pool, path.race_id)
    if found is None:
        raise no_race()
    return Encoded(found)


async def list_unknown_chips(api: Api, *, path: RacePath) -> UnknownChips:
    """List chips that were read in the race's epochs and are none of its own."""
    if await store.name_of(api.pool, path.race_id) is None:
        raise no_race()
    return UnknownChips(chips=await roster.unknown_chips(api.pool, path.race_id))


async def remove_participant(api: Api, *, path: ParticipantPath) -> None:
    """Remove a person from a race; what was read of the chip shows a bib without a name."""
    name = await store.name_of(api.pool, path.race_id)
    if name is None:
        raise no_race()
    if not await roster.remove_participant(api.pool, path.race_id, path.bib):
        raise ApiError("NOT_FOUND", "the race has nobody of this bib")
    _tell(api, "participant_removed", path.race_id, name, bib=path.bib)


async def import_participants(api: Api, *, path: RacePath, query: UploadQuery, upload: Upload) -> Imported:
    """Let a race have the people of a .ppl file and no others. The first field of the form is the file."""
    return await _import(api, path.race_id, "participants", query, upload)


async def import_chips(api: Api, *, path: RacePath, query: UploadQuery, upload: Upload) -> Imported:
    """Let a race have the chips of a .bibchip file and no others. The first field of the form is the file."""
    return await _import(api, path.race_id, "chips", query, upload)


async def _import(api: Api, race_id: UUID, kind: Kind, query: UploadQuery, upload: Upload) -> Imported:
    upload.must_be_form()
    return await import_file(
        api, race_id, kind, lambda: upload.first_field(at_most=MOST_BYTES), dry_run=query.dry_run == "true"
    )


def _named(text: str) -> str:
    name = text.strip()
    if not name:
        raise ApiError("BAD_REQUEST", "body: the name is blank")
    return name


def _tell(api: Api, event: str, race_id: UUID, race: str | None, **fields: Any) -> None:
    """Tell processes that a race has changed, and operators how."""
    api.process.notifier.notify(RACES, str(race_id))
    api.note(event, race=race, race_id=race_id, **fields)
