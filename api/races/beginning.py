"""Commands streams to new epochs of a race.

The epoch and its race are reserved in one transaction, by the gateway, before it writes to the socket; so whoever sees
the epoch sees its race. A command that was reserved and not written leaves an empty epoch of the race, and the next try
takes the next one. Over several devices nothing is atomic: each stream's answer stands for itself. Who says which
epoch a stream is in commands it out of that one only: of two who begin a race at once, each stream obeys the first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from uuid import UUID

import msgspec

from api.commands.ask import CommandError, Commands, noted
from api.commands.types import NewEpoch
from api.http.context import Api
from api.http.errors import ApiError
from api.races.rosters import no_race
from api.races.store import mappings, races
from api.races.store.mappings import Target
from api.races.types import BegunStream, State
from api.streams import epoch_names
from shared.db.channels import RACES
from shared.db.errors import DatabaseUnavailable
from shared.protocol.commands import EPOCH_RESET, EpochReset

__all__ = ["OtherEpoch", "advance", "begin"]

# Forwarders at once; an api process has room for 64 commands, and others ask too. The streams of one forwarder come one
# after the other: so does its gateway, and one that does not answer is asked once.
FORWARDERS_AT_ONCE = 48
# What has not been asked by then is not: whoever waits for the answer gives up soon.
BEGIN_WITHIN_S = 18.0


class OtherEpoch(CommandError):
    """A stream is not in the epoch that was expected, and was commanded to none. of_race: it is in one of the race."""

    def __init__(self, epoch: int, expected: int, *, of_race: bool) -> None:
        message = (
            f"somebody else has begun it: epoch {epoch}"
            if of_race and epoch > expected
            else f"it is in epoch {epoch}, not in {expected}: look at it again"
        )
        super().__init__("CONFLICT", message, ending="not carried out", details={"stream_epoch": epoch})
        self.begun = of_race and epoch > expected


async def advance(
    api: Api, race_id: UUID, race: str, target: Target, *, expected_epoch: int | None = None
) -> int:
    """Command a stream to its next epoch, as the race's, and return it. CommandError when it was not done, as far as
    anybody knows; OtherEpoch when the stream is in another than is expected; ApiError when the race is gone.
    """
    await _must_be_in(api, race_id, target, expected_epoch)
    request = EpochReset(target.stream_id, target.reader_ip, expected_epoch, race_id)
    async with noted(
        api, EPOCH_RESET, stream=target.title, stream_id=target.stream_id, race=race, race_id=race_id
    ) as facts:
        reply = await api.part(Commands).ask(target.forwarder_id, EPOCH_RESET, request)
        if reply.ending == "absent":
            if await races.name_of(api.pool, race_id) is None:
                raise no_race()
            # The gateway does nothing either where somebody else was faster since we looked.
            await _must_be_in(api, race_id, target, expected_epoch)
            raise CommandError("CONFLICT", "forwarder not connected", ending="not carried out")
        epoch = msgspec.json.decode(reply.answer, type=NewEpoch).new_stream_epoch
        facts["stream_epoch"] = epoch
    # The gateway told nobody: told here, it comes behind the answer that the page waits for.
    api.process.notifier.notify(RACES, str(race_id))
    return epoch


async def _must_be_in(api: Api, race_id: UUID, target: Target, expected: int | None) -> None:
    if expected is None:
        return
    now = await mappings.epoch_now(api.pool, target.stream_id, race_id)
    if now is not None and now[0] != expected:
        epoch, of_race = now
        raise OtherEpoch(epoch, expected, of_race=of_race)


async def begin(
    api: Api,
    race_id: UUID,
    race: str,
    wanted: Sequence[UUID],
    targets: Mapping[UUID, Target],
    *,
    name: str | None,
    expected: Mapping[UUID, int],
) -> list[BegunStream]:
    """Command streams to their next epochs, as the race's, and give these a name; return what became of each.
    expected: which of them out of which epoch only.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    until = began + BEGIN_WITHIN_S
    places = asyncio.Semaphore(FORWARDERS_AT_ONCE)

    async def tried(target: Target) -> BegunStream:
        return await _try(api, race_id, race, target, expected.get(target.stream_id))

    async def of_forwarder(streams: Sequence[Target]) -> list[BegunStream]:
        async with places:
            return await _one_after_the_other(streams, until, tried)

    known = sorted((targets[each] for each in wanted if each in targets), key=_forwarder)
    # Tuples of their own: groupby's groups are gone when the next begins.
    groups = [tuple(group) for _, group in groupby(known, key=_forwarder)]
    found = {
        each.stream_id: each for some in await asyncio.gather(*map(of_forwarder, groups)) for each in some
    }
    results = [found.get(each) or _failed(each, "there is no stream of this id") for each in wanted]
    begun = {each.stream_id: each.new_stream_epoch for each in results if each.new_stream_epoch}
    async with api.changing() as (connection, note):
        if begun:
            # Since the command, not since its answer.
            await races.start_clock(connection, race_id, ago_s=clock() - began)
        if name is not None and name.strip():
            await epoch_names.name_epochs(connection, begun, name.strip())
        await note(
            "race_begun",
            level="info" if len(begun) == len(results) else "warn",
            race=race,
            race_id=race_id,
            streams=len(results),
            begun=len(begun),
            epoch_name=name,
        )
    api.process.notifier.notify(RACES, str(race_id))
    return results


def _forwarder(target: Target) -> str:
    return target.forwarder_id


async def _one_after_the_other(
    streams: Sequence[Target], until: float, tried: Callable[[Target], Awaitable[BegunStream]]
) -> list[BegunStream]:
    results: list[BegunStream] = []
    # Why the rest is not asked: one forwarder has one session, and an answer that does not come takes 10 s.
    skipped: tuple[State, str] | None = None
    for target in streams:
        if skipped is None and asyncio.get_running_loop().time() > until:
            skipped = "failed", "not asked: too much was to be done at once"
        if skipped is not None:
            state, message = skipped
            results.append(BegunStream(stream_id=target.stream_id, state=state, message=message))
            continue
        results.append(await tried(target))
        if results[-1].state == "not_connected":
            skipped = "not_connected", "forwarder not connected"
        elif results[-1].state == "unknown":
            skipped = "failed", "not asked: its forwarder has not answered"
    return results


async def _try(api: Api, race_id: UUID, race: str, target: Target, expected_epoch: int | None) -> BegunStream:
    """Command one stream; whatever becomes of it is its answer."""
    try:
        epoch = await advance(api, race_id, race, target, expected_epoch=expected_epoch)
    except CommandError as error:
        return BegunStream(stream_id=target.stream_id, state=_state(error), message=str(error))
    except ApiError as error:
        return _failed(target.stream_id, str(error))
    except DatabaseUnavailable:
        message = "the database is away; nobody knows whether it was done"
        return BegunStream(stream_id=target.stream_id, state="unknown", message=message)
    return BegunStream(stream_id=target.stream_id, state="begun", new_stream_epoch=epoch)


def _state(error: CommandError) -> State:
    if isinstance(error, OtherEpoch):
        return "begun_already" if error.begun else "failed"
    if error.code == "CONFLICT":
        return "not_connected"
    return "unknown" if error.ending == "nobody knows" else "failed"


def _failed(stream_id: UUID, message: str) -> BegunStream:
    return BegunStream(stream_id=stream_id, state="failed", message=message)
