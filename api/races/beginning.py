"""Commands streams to new epochs of a race.

The epoch and its race are reserved in one transaction, by the gateway, before it writes to the socket; so whoever sees
the epoch sees its race. A command that was reserved and not written leaves an empty epoch of the race, and the next try
takes the next one. Over several devices nothing is atomic: each stream's answer stands for itself, and whatever goes
wrong meanwhile, what is known of each is answered. Who says which epoch a stream is in commands it out of that one
only: of two who begin a race at once, each stream obeys the first.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from api.commands.ask import CommandError, Commands, Reply, noted
from api.commands.types import NewEpoch
from api.http.context import Api
from api.http.errors import ApiError
from api.races.rosters import no_race
from api.races.store import mappings, races
from api.races.store.mappings import Target
from api.races.types import Begun, BegunStream, State
from api.streams import epoch_names
from shared.db.channels import RACES
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import promptly
from shared.log import get_logger
from shared.protocol.commands import EPOCH_RESET, EpochReset

__all__ = ["OtherEpoch", "advance", "begin"]

# Streams at once; an api process has room for 64 commands, and others ask too.
AT_ONCE = 48
# Of one forwarder, of the 8 that its gateway takes. Its device is told one after the other all the same, by the order
# of its session (gateway/epochs.py): what is saved is the way there and back, which is most of the time.
OF_ONE_AT_ONCE = 4
# What has not been asked by then is not, what was is waited for a little longer, and then there is what has to be
# written at the end: whoever waits for the answer gives up soon, and the route itself after 30 s.
ASKED_WITHIN_S = 16.0
ANSWERED_WITHIN_S = 26.5
FINISHED_WITHIN_S = 2.5

log = get_logger(__name__)


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
    """Command a stream to its next epoch, as the race's, and return it. Whoever has the race looks at once: the gateway
    tells when it has reserved the epoch.

    CommandError when it was not done, as far as anybody knows; OtherEpoch when the stream is in another than is
    expected; ApiError when the race is gone; DatabaseUnavailable when nobody was asked.
    """
    await _must_be_in(api, race_id, target, expected_epoch)
    request = EpochReset(target.stream_id, target.reader_ip, expected_epoch, race_id)
    async with noted(
        api, EPOCH_RESET, stream=target.title, stream_id=target.stream_id, race=race, race_id=race_id
    ) as facts:
        reply = await _asked(api, target, request)
        if reply.ending == "absent":
            raise await _why_absent(api, race_id, target, expected_epoch)
        epoch = msgspec.json.decode(reply.answer, type=NewEpoch).new_stream_epoch
        facts["stream_epoch"] = epoch
    return epoch


async def _asked(api: Api, target: Target, request: EpochReset) -> Reply:
    try:
        return await api.part(Commands).ask(target.forwarder_id, EPOCH_RESET, request)
    except DatabaseUnavailable as error:
        # Its last word may have been lost, and the command be there: its gateway finds it without us.
        log.warning("begin_asked_perhaps", stream_id=str(target.stream_id), error=str(error))
        message = "the database is away: nobody knows whether it was asked"
        raise CommandError(
            "UNAVAILABLE", message, ending="nobody knows", details={"cause": "database"}
        ) from error


async def _why_absent(api: Api, race_id: UUID, target: Target, expected_epoch: int | None) -> ApiError:
    """Return why a stream was not commanded that its gateway would not, or could not."""
    try:
        if await races.name_of(api.pool, race_id) is None:
            return no_race()
        # The gateway does nothing either where somebody else was faster since we looked.
        await _must_be_in(api, race_id, target, expected_epoch)
    except OtherEpoch as other:
        return other
    except DatabaseUnavailable:
        message = "it was not told; the database is away, so nobody knows why"
        return CommandError("UNAVAILABLE", message, ending="not carried out", details={"cause": "database"})
    return CommandError("CONFLICT", "forwarder not connected", ending="not carried out")


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
) -> Begun:
    """Command streams to their next epochs, as the race's, and give these a name; return what became of each.
    expected: which of them out of which epoch only.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    beginning = _Beginning(api, race_id, race, expected)
    # A database that hangs holds up who waits for it; what the others have answered until then counts all the same.
    with suppress(TimeoutError):
        await promptly(
            beginning.ask([targets[each] for each in wanted if each in targets]), within_s=ANSWERED_WITHIN_S
        )
    results = [
        beginning.became_of(each) if each in targets else _failed(each, "there is no stream of this id")
        for each in wanted
    ]
    # Since the command, not since its answer.
    ago_s = clock() - began
    message = await _finish(api, race_id, race, results, name=(name or "").strip() or None, ago_s=ago_s)
    api.process.notifier.notify(RACES, str(race_id))
    return Begun(results=results, message=message)


class _Beginning:
    """A race that begins: which streams were asked, and what has become of them by now."""

    def __init__(self, api: Api, race_id: UUID, race: str, expected: Mapping[UUID, int]) -> None:
        self._api = api
        self._race_id = race_id
        self._race = race
        self._expected = expected
        self._places = asyncio.Semaphore(AT_ONCE)
        self._until = asyncio.get_running_loop().time() + ASKED_WITHIN_S
        self._asked: set[UUID] = set()
        self._became: dict[UUID, BegunStream] = {}

    async def ask(self, targets: Iterable[Target]) -> None:
        """Ask for all of them."""
        of_forwarder = attrgetter("forwarder_id")
        # Queues of their own: groupby's groups are gone when the next begins.
        groups = [deque(group) for _, group in groupby(sorted(targets, key=of_forwarder), key=of_forwarder)]
        await asyncio.gather(*map(self._ask_one_forwarder, groups))

    def became_of(self, stream_id: UUID) -> BegunStream:
        """Return what is known of a stream."""
        if (known := self._became.get(stream_id)) is not None:
            return known
        if stream_id in self._asked:
            return _unknown(stream_id, "no answer in time; it may have begun or not")
        return _failed(stream_id, "not asked: too much was to be done at once")

    async def _ask_one_forwarder(self, left: deque[Target]) -> None:
        # Alone at first: of a forwarder that does not answer, one stream may have begun or not, and not four.
        await self._ask_for(left, 1)
        await asyncio.gather(*(self._ask_for(left, len(left)) for _ in range(OF_ONE_AT_ONCE)))

    async def _ask_for(self, left: deque[Target], count: int) -> None:
        """Ask for the next so many, as long as there is a point to it; `left` is what nobody has asked for."""
        for _ in range(count):
            if not left:
                return
            stream_id = left[0].stream_id
            became = self._became[stream_id] = await self._try(left.popleft())
            if (rest := _rest(became)) is None:
                continue
            # One forwarder has one session, and an answer that does not come takes 10 s.
            while left:
                skipped = left.popleft().stream_id
                self._became[skipped] = msgspec.structs.replace(rest, stream_id=skipped)

    async def _try(self, target: Target) -> BegunStream:
        """Command one stream; whatever becomes of it is its answer."""
        stream_id = target.stream_id
        async with self._places:
            if asyncio.get_running_loop().time() > self._until:
                return self.became_of(stream_id)
            self._asked.add(stream_id)
            try:
                epoch = await advance(
                    self._api,
                    self._race_id,
                    self._race,
                    target,
                    expected_epoch=self._expected.get(stream_id),
                )
            except CommandError as error:
                return BegunStream(stream_id=stream_id, state=_state(error), message=str(error))
            except ApiError as error:
                return _failed(stream_id, str(error))
            except DatabaseUnavailable as error:
                log.warning("begin_not_asked", stream_id=str(stream_id), error=str(error))
                return _failed(stream_id, "not asked: the database is away")
            except Exception:
                # One of many: the others' answers are not to be lost for it.
                log.exception("begin_failed", stream_id=str(stream_id), race_id=str(self._race_id))
                return _unknown(stream_id, "the server failed; its log says why, and nobody knows the rest")
        return BegunStream(stream_id=stream_id, state="begun", new_stream_epoch=epoch)


async def _finish(
    api: Api, race_id: UUID, race: str, results: Sequence[BegunStream], *, name: str | None, ago_s: float
) -> str | None:
    """Name the new epochs, let the race's clock go, and note it all; return what of that may be missing."""
    begun = {each.stream_id: each.new_stream_epoch for each in results if each.new_stream_epoch}
    about: dict[str, Any] = {
        "level": "info" if len(begun) == len(results) else "warn",
        "race": race,
        "race_id": race_id,
        "streams": len(results),
        "begun": len(begun),
        "epoch_name": name,
    }

    async def written() -> None:
        async with api.changing() as (connection, note):
            if begun:
                await races.start_clock(connection, race_id, ago_s=ago_s)
            if name is not None:
                await epoch_names.name_epochs(connection, begun, name)
            await note("race_begun", **about)

    try:
        await promptly(written(), within_s=FINISHED_WITHIN_S)
    except (DatabaseUnavailable, TimeoutError) as error:
        if not any(each.state in ("begun", "unknown") for each in results):
            raise  # nothing was done, and there is nothing to tell
        log.warning("begin_unfinished", race_id=str(race_id), error=str(error) or "no answer in time")
        # Devices have been told by now: what is known of them is answered, and stands in the log when it can.
        api.note("race_begun", **about)
        return _missing(datetime.now(UTC) - timedelta(seconds=ago_s), name) if begun else None
    return None


def _missing(began_at: datetime, name: str | None) -> str:
    named = "" if name is None else f"; the new epochs may have no name: call them {name}"
    return (
        "the database went away meanwhile. The race's clock may not go: if it does not, set its gun to"
        f" {began_at.isoformat(timespec='seconds')}{named}"
    )


def _rest(became: BegunStream) -> BegunStream | None:
    """Return what becomes of a forwarder's other streams without asking; None where they are asked."""
    if became.state == "not_connected":
        return became
    if became.state == "unknown":
        return _failed(became.stream_id, "not asked: its forwarder has not answered")
    return None


def _state(error: CommandError) -> State:
    if isinstance(error, OtherEpoch):
        return "begun_already" if error.begun else "failed"
    if error.code == "CONFLICT":
        return "not_connected"
    return "unknown" if error.ending == "nobody knows" else "failed"


def _failed(stream_id: UUID, message: str) -> BegunStream:
    return BegunStream(stream_id=stream_id, state="failed", message=message)


def _unknown(stream_id: UUID, message: str) -> BegunStream:
    return BegunStream(stream_id=stream_id, state="unknown", message=message)
