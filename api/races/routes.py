"""Races and who runs in them."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, UnsetType

from api.http.context import Api
from api.http.contract import Encoded, Upload
from api.http.errors import ApiError
from api.races.rosters import MOST_BYTES, import_file, no_race
from api.races.store import races as store
from api.races.store import roster
from api.races.store.roster import Kind
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
from shared.db.connections import Transaction

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
    async with api.changing() as (connection, note):
        race = await store.add(connection, _named(body.name))
        if race is None:
            raise ApiError("CONFLICT", f"there are {store.MOST_RACES} races already; delete one that is over")
        await note("race_created", race=race.name, race_id=race.race_id)
    _tell(api, race.race_id)
    return race


async def show_race(api: Api, *, path: RacePath) -> RaceDetails:
    """Show a race, and what belongs to it."""
    race = await store.details(api.pool, path.race_id)
    if race is None:
        raise no_race()
    return race


async def patch_race(api: Api, *, path: RacePath, body: RacePatch) -> Race:
    """Give a race another name, another time at which its people are removed, or another time of the gun. With what is
    expected only if it is so: of two who change it at once, the second is told.
    """
    name = UNSET if body.name is UNSET else _named(body.name)
    async with api.changing() as (connection, note):
        before = await store.hold(connection, path.race_id)
        if before is None:
            raise no_race()
        wanted = store.Patch(name, body.participants_until, body.gun_at)
        _must_be_as_expected(before, wanted, body)
        await _must_be_to_come(connection, before, body.participants_until)
        await store.patch(connection, path.race_id, wanted)
        race = await store.find(connection, path.race_id)
        if race is None:
            raise no_race()
        if name not in (UNSET, before.name):
            await note("race_renamed", race=before.name, race_id=path.race_id, name=name)
        if body.participants_until is not UNSET:
            until = _told(race.participants_until)
            await note("participants_kept_until", race=race.name, race_id=path.race_id, until=until)
        if body.gun_at is not UNSET:
            await note("race_gun_set", race=race.name, race_id=path.race_id, gun_at=_told(race.gun_at))
    _tell(api, path.race_id)
    return race


def _must_be_as_expected(race: Race, wanted: store.Patch, body: RacePatch) -> None:
    """Refuse what somebody else has changed otherwise; what is as it is wanted already is nobody's quarrel."""
    now = {each: getattr(race, each) for each in wanted._fields}
    expected = {each: getattr(body, f"expected_{each}") for each in wanted._fields}
    other = {
        each: _told(value)
        for each, value in now.items()
        if expected[each] is not UNSET and value not in (expected[each], getattr(wanted, each))
    }
    if other:
        by_now = ", ".join(f"{each} is {value}" for each, value in other.items())
        raise ApiError("CONFLICT", f"somebody else has changed the race: {by_now} by now", details=other)


async def _must_be_to_come(connection: Transaction, before: Race, until: datetime | UnsetType | None) -> None:
    """Refuse a time at which people would have been removed already: a year that was mistyped removes them for good."""
    if not isinstance(until, datetime) or until == before.participants_until:
        return
    if not await store.is_to_come(connection, until):
        raise ApiError(
            "BAD_REQUEST",
            f"body: `participants_until` {until.isoformat()} is over, and all people of the race would be removed at"
            " once, for good; give a time to come. Must they go now, let that be in a minute",
        )


async def delete_race(api: Api, *, path: RacePath) -> None:
    """Delete a race with its people, chips and mappings; reads and names of epochs stay."""
    async with api.changing() as (connection, note):
        name = await store.name_of(connection, path.race_id)
        outcome = await store.delete(connection, path.race_id)
        if outcome == "followed":
            raise ApiError("CONFLICT", _FOLLOWED.format(what="this race"))
        if outcome == "absent":
            raise no_race()
        await note("race_deleted", race=name, race_id=path.race_id)
    _tell(api, path.race_id)


async def delete_all_races(api: Api) -> None:
    """Delete all races, or none of them."""
    async with api.changing() as (connection, note):
        outcome = await store.delete(connection, None)
        if outcome == "followed":
            raise ApiError("CONFLICT", _FOLLOWED.format(what="one of the races"))
        if outcome == "deleted":
            await note("races_deleted")
    if outcome == "deleted":
        api.process.notifier.notify(RACES)


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
    async with api.changing() as (connection, note):
        name = await store.name_of(connection, path.race_id)
        if name is None:
            raise no_race()
        if not await roster.remove_participant(connection, path.race_id, path.bib):
            raise ApiError("NOT_FOUND", "the race has nobody of this bib")
        await note("participant_removed", race=name, race_id=path.race_id, bib=path.bib)
    _tell(api, path.race_id)


async def import_participants(api: Api, *, path: RacePath, query: UploadQuery, upload: Upload) -> Imported:
    """Let a race have the people of a .ppl file and no others. The first field of the form is the file. With an
    expected time only if neither people nor chips have changed since.
    """
    return await _import(api, path.race_id, "participants", query, upload)


async def import_chips(api: Api, *, path: RacePath, query: UploadQuery, upload: Upload) -> Imported:
    """Let a race have the chips of a .bibchip file and no others. The first field of the form is the file. With an
    expected time only if neither people nor chips have changed since.
    """
    return await _import(api, path.race_id, "chips", query, upload)


async def _import(api: Api, race_id: UUID, kind: Kind, query: UploadQuery, upload: Upload) -> Imported:
    upload.must_be_form()
    return await import_file(
        api,
        race_id,
        kind,
        lambda: upload.first_field(at_most=MOST_BYTES),
        dry_run=query.dry_run == "true",
        expected=query.expected_roster_changed_at,
    )


def _told(value: str | datetime | None) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else value


def _named(text: str) -> str:
    name = text.strip()
    if not name:
        raise ApiError("BAD_REQUEST", "body: the name is blank")
    return name


def _tell(api: Api, race_id: UUID) -> None:
    """Tell processes that a race has changed."""
    api.process.notifier.notify(RACES, str(race_id))
