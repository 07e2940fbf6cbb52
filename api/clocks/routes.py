"""Readers' clocks, and the zones that they are set to."""

from collections import defaultdict

from msgspec import UNSET

from api.clocks.store import lines
from api.clocks.store import zones as store
from api.clocks.types import ClockLine, ClockQuery, Clocks, ClockStep, ForwarderZone, WantedZone
from api.clocks.zones import zone_named
from api.commands.types import ForwarderPath
from api.http.context import Api
from api.http.errors import ApiError
from shared.db.errors import DatabaseRefused

__all__ = ["list_clocks", "set_zone", "show_zone"]

BINS = 72
LINES = 24


async def list_clocks(api: Api, *, query: ClockQuery) -> Clocks:
    """Show how far off readers' clocks were over time, how they drift, and when they were set."""
    bin_s = query.hours * 3600 // BINS
    begins_at, total, found = await lines.lines(
        api.pool, query.stream_id, bin_s=bin_s, bins=BINS, at_most=LINES
    )
    steps = defaultdict(list)
    for each in await lines.steps(api.pool, [line["stream_id"] for line in found], begins_at):
        steps[each.stream_id].append(ClockStep(at=each.at, was_ms=each.was_ms, is_ms=each.is_ms))
    return Clocks(
        begins_at=begins_at,
        bin_s=bin_s,
        clocks=[ClockLine(**line, steps=steps[line["stream_id"]]) for line in found],
        left_out=total - len(found),
    )


async def show_zone(api: Api, *, path: ForwarderPath) -> ForwarderZone:
    """Show the zone of a forwarder's own, null where it has none."""
    found = await store.forwarder_zone(api.pool, path.forwarder_id)
    if not found.is_known:
        raise _no_forwarder()
    return ForwarderZone(forwarder_id=path.forwarder_id, time_zone=found.time_zone)


async def set_zone(api: Api, *, path: ForwarderPath, body: WantedZone) -> ForwarderZone:
    """Say which zone the clocks of a forwarder's readers are set to; it counts with the next look, within ten seconds,
    and what is known of the clocks stays known. With an expected zone only if it has that.
    """
    wanted = None if body.time_zone is None else await _zone(api, body.time_zone)
    async with api.changing() as (connection, note):
        await store.hold(connection, path.forwarder_id)
        before = await store.forwarder_zone(connection, path.forwarder_id)
        if not before.is_known:
            raise _no_forwarder()
        if body.expected_time_zone is not UNSET and before.time_zone not in (body.expected_time_zone, wanted):
            raise ApiError(
                "CONFLICT",
                "somebody else has given it another zone meanwhile; look at it again",
                details={"time_zone": before.time_zone},
            )
        if wanted != before.time_zone:
            if wanted is None:
                await store.take_zone(connection, path.forwarder_id)
            else:
                await store.give_zone(connection, path.forwarder_id, wanted)
            await note("forwarder_zone_set", forwarder_id=path.forwarder_id, time_zone=wanted)
    return ForwarderZone(forwarder_id=path.forwarder_id, time_zone=wanted)


async def _zone(api: Api, text: str) -> str:
    try:
        name = zone_named(text)
        await store.try_zone(api.pool, name)
    except (ValueError, DatabaseRefused) as error:
        raise ApiError(
            "BAD_REQUEST", "`time_zone` must be a name of the tz database, like Europe/Berlin"
        ) from error
    return name


def _no_forwarder() -> ApiError:
    return ApiError("NOT_FOUND", "there is no forwarder of this id")
