"""Which forwarders and epochs are of a race, and how a race begins."""

from uuid import UUID

from msgspec import UNSET

from api.commands.types import EpochReset, ForwarderPath
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.races import beginning
from api.races.rosters import no_race
from api.races.store import mappings as store
from api.races.store import races
from api.races.types import (
    Assignment,
    Assignments,
    Begin,
    Begun,
    EpochRace,
    Mappings,
    RacePath,
    RaceStreamPath,
    WantedRace,
)
from api.streams.types import EpochPath
from shared.db.channels import RACES
from shared.db.connections import Transaction
from shared.transport.tokens import is_forwarder_id

__all__ = [
    "activate_next",
    "assign_race",
    "begin_race",
    "list_assignments",
    "list_mappings",
    "map_epoch",
    "show_assignment",
]


async def list_assignments(api: Api) -> Assignments:
    """List the forwarders that have a race."""
    return Assignments(assignments=await store.assignments(api.pool))


async def show_assignment(api: Api, *, path: ForwarderPath) -> Assignment:
    """Show the race of a forwarder, null where it has none."""
    race_id = await store.assignment(api.pool, path.forwarder_id)
    return Assignment(forwarder_id=path.forwarder_id, race_id=race_id)


async def assign_race(api: Api, *, path: ForwarderPath, body: WantedRace) -> Assignment:
    """Give a forwarder a race, or none; it need not have connected yet. With an expected race only if it has that: of
    two who give it one at once, the second is told.
    """
    if not is_forwarder_id(path.forwarder_id):
        raise ApiError("BAD_REQUEST", "path: no forwarder can have this id")
    async with api.changing() as (connection, note):
        await store.hold(connection, path.forwarder_id)
        before = await store.assignment(connection, path.forwarder_id)
        _must_be_as_expected(before, body)
        if body.race_id is None:
            changed = await store.unassign(connection, path.forwarder_id)
        else:
            exists, changed = await store.assign(connection, path.forwarder_id, body.race_id)
            if not exists:
                raise no_race()
        race_id = body.race_id or before
        if changed:
            name = await races.name_of(connection, race_id) if race_id else None
            event = "forwarder_race_set" if body.race_id else "forwarder_race_unset"
            await note(event, forwarder_id=path.forwarder_id, race=name, race_id=race_id)
    if changed:
        api.process.notifier.notify(RACES, str(race_id))
    return Assignment(forwarder_id=path.forwarder_id, race_id=body.race_id)


async def list_mappings(api: Api, *, path: RacePath) -> Mappings:
    """List the epochs of a race."""
    if await races.name_of(api.pool, path.race_id) is None:
        raise no_race()
    return Mappings(mappings=await store.mappings(api.pool, path.race_id))


async def map_epoch(api: Api, *, path: EpochPath, body: WantedRace) -> EpochRace:
    """Let an epoch be of a race, or of that of its forwarder; it need not have begun yet. With an expected race only if
    it is of that.
    """
    targets = await store.streams_of(api.pool, [path.stream_id])
    if path.stream_id not in targets:
        raise no_stream()
    async with api.changing() as (connection, note):
        await store.hold(connection, f"{path.stream_id} {path.epoch}")
        _must_be_as_expected(await store.race_of_epoch(connection, path.stream_id, path.epoch), body)
        if body.race_id is None:
            changed = await store.unmap_epoch(connection, path.stream_id, path.epoch)
        else:
            changed = await _map(connection, path, body.race_id)
        if changed:
            name = await races.name_of(connection, body.race_id) if body.race_id else None
            await note(
                "epoch_race_set" if body.race_id else "epoch_race_unset",
                stream=targets[path.stream_id].title,
                stream_id=path.stream_id,
                stream_epoch=path.epoch,
                race=name,
                race_id=body.race_id,
            )
    if changed:
        api.process.notifier.notify(RACES, str(body.race_id or ""))
    return EpochRace(stream_id=path.stream_id, stream_epoch=path.epoch, race_id=body.race_id)


def _must_be_as_expected(before: UUID | None, body: WantedRace) -> None:
    """Refuse where somebody else was first, unless with the same."""
    if body.expected_race_id is not UNSET and before not in (body.expected_race_id, body.race_id):
        raise ApiError(
            "CONFLICT",
            "somebody else has given it another race meanwhile; look at it again",
            details={"race_id": None if before is None else str(before)},
        )


async def _map(connection: Transaction, path: EpochPath, race_id: UUID) -> bool:
    """Map an epoch and return whether it was mapped otherwise."""
    if other := await store.taken(connection, path.stream_id, path.epoch, race_id):
        raise ApiError(
            "CONFLICT", f"{other} has all of this epoch by a segment of its own: move that first, on its page"
        )
    mapped = await store.map_epoch(connection, path.stream_id, path.epoch, race_id)
    if not mapped.stream:
        raise no_stream()
    if not mapped.race:
        raise no_race()
    if not mapped.holds:
        raise ApiError("CONFLICT", f"{store.MOST_MAPPED:,} epochs of this stream are mapped already")
    return mapped.changed


async def activate_next(api: Api, *, path: RaceStreamPath, body: EpochReset) -> None:
    """Command a stream that has an epoch of the race to its next one, which is the race's too. With an expected epoch
    only out of that one.
    """
    race = await races.name_of(api.pool, path.race_id)
    if race is None:
        raise no_race()
    targets = await store.streams_of(api.pool, [path.stream_id])
    if path.stream_id not in targets:
        raise no_stream()
    if not await store.is_mapped(api.pool, path.race_id, path.stream_id):
        raise ApiError("NOT_FOUND", "no epoch of this stream is of this race")
    target = targets[path.stream_id]
    await beginning.advance(api, path.race_id, race, target, expected_epoch=body.expected_epoch)


async def begin_race(api: Api, *, path: RacePath, body: Begin) -> Begun:
    """Command all streams of a race, or those that are named, to new epochs that are the race's; say what became of
    each. Those that have not begun can be asked again. With expected epochs only out of these: of two who begin a race
    at once, the second is told.
    """
    race = await races.name_of(api.pool, path.race_id)
    if race is None:
        raise no_race()
    if body.stream_ids is None:
        targets = await store.streams_of_race(api.pool, path.race_id)
        wanted = list(targets)
    else:
        targets = await store.streams_of(api.pool, body.stream_ids)
        wanted = list(dict.fromkeys(body.stream_ids))
    if not wanted:
        raise ApiError(
            "CONFLICT", "the race has no stream: give a forwarder to it, or map an epoch, or name streams"
        )
    return await beginning.begin(
        api,
        path.race_id,
        race,
        wanted,
        targets,
        name=body.epoch_name,
        expected=body.expected_epochs,
    )
