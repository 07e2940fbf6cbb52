"""Moves the readers of one session on to fresh epochs: once after a conflict, and as often as operators ask.

A device applies whatever it is told, and an epoch that is repeated or lowered costs reads for good (protocol.md,
section 6.1). So an epoch is reserved in the database first, above all that anybody knows of, and commands leave in
the order of their reservations: one at a time, the next not before the last was handed to the socket. A command
reserves one epoch, however often the database is lost over it, with or without having done it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from gateway.commands import Carried
from gateway.store.streams import commanded_epoch, next_epoch, next_epoch_of_race
from shared.db.channels import RACES
from shared.db.patience import patiently
from shared.log import get_logger
from shared.protocol.commands import EpochReset
from shared.protocol.memory import is_memory
from shared.protocol.v1 import encode_epoch_reset
from shared.runtime.process import Process
from shared.transport.connection import DeviceConnection

__all__ = ["Epochs"]

T = TypeVar("T")

log = get_logger(__name__)


class Epochs:
    """What a session knows of its readers' epochs."""

    def __init__(self, connection: DeviceConnection, process: Process) -> None:
        self._connection = connection
        self._process = process
        self._one_at_a_time = asyncio.Lock()
        self._seen: dict[str, int] = {}  # the highest of each reader, stored or still on its way
        self._reset: set[str] = set()  # readers that were commanded after a conflict
        self._spared: set[str] = set()  # readers that had a conflict and were not

    def saw(self, reader_ip: str, epoch: int) -> None:
        """Remember an epoch that the device has used."""
        self._seen[reader_ip] = max(epoch, self._seen.get(reader_ip, 0))

    async def carry_out(self, forwarder_id: str, request: EpochReset, until: float) -> Carried:
        """Do what an operator asks; see Commands."""
        if is_memory(request.reader_ip):
            return Carried(
                "absent"
            )  # no device numbers it, and this one would be told of a reader that it has not
        epoch = await self.command(
            forwarder_id,
            request.reader_ip,
            request.stream_id,
            asked_by="operator",
            until=until,
            # Who saw another epoch than there is now, because somebody else was faster, means another reset.
            unless_beyond=request.expected_epoch,
            race_id=request.race_id,
        )
        if epoch is None:
            return Carried("absent")
        # "done" says that it has left us: what only lies in the buffer of a dead connection was commanded to nobody.
        await self._connection.flush()
        return Carried("done", msgspec.json.encode({"new_stream_epoch": epoch}))

    async def command(
        self,
        forwarder_id: str,
        reader_ip: str,
        stream_id: UUID,
        *,
        asked_by: str,
        until: float = math.inf,
        unless_beyond: int | None = None,
        race_id: UUID | None = None,
    ) -> int | None:
        """Command a reader to the next epoch and return that; None when there is none for this session to command.

        race_id: the epoch is of this race, by the very transaction that reserves it. unless_beyond: nothing is
        commanded to a reader that was commanded beyond this. until: by the loop's clock; TimeoutError when it could not
        be written before. Waits for the database until then. Raises ConnectionGone.
        """
        async with self._one_at_a_time:
            # Committed before the device hears of it. Whatever fails from here on leaves an epoch that was never
            # commanded, and the next is above it; a gap costs nothing, an epoch that is given twice costs reads.
            reservation = _Reservation(self, reader_ip, stream_id, race_id, unless_beyond)
            epoch = await self._patiently(lambda: reservation.make(until), forwarder_id)
            if epoch is None:
                return None
            if race_id is not None:  # it is mapped by now, whether the device is told of it or not
                self._process.notifier.notify(RACES, str(race_id))
            facts: dict[str, Any] = {
                "forwarder_id": forwarder_id,
                "reader_ip": reader_ip,
                "stream_epoch": epoch,
                "asked_by": asked_by,
            }
            # Before the device is told, who may act on it whatever becomes of this process. What its conflicts bring
            # about it can bring about again, for each of its readers.
            of = forwarder_id if asked_by == "conflict" else None
            await self._patiently(lambda: self._record(of, facts, until), forwarder_id)
            _still(until)
            await self._connection.send(
                encode_epoch_reset(self._connection.session_id, forwarder_id, reader_ip, epoch)
            )
        log.warning("epoch_reset", **facts)
        return epoch

    async def _patiently(self, act: Callable[[], Awaitable[T]], forwarder_id: str) -> T:
        return await patiently(act, waits="session_waits", forwarder_id=forwarder_id)

    async def _record(self, of: str | None, facts: dict[str, Any], until: float) -> None:
        _still(until)
        await self._process.activity.record(self._process.pool, "epoch_reset", level="warn", of=of, **facts)

    @property
    def gone(self) -> bool:
        """Whether nobody is there any more who could be commanded."""
        return self._connection.gone

    def seen(self, reader_ip: str) -> int:
        """Return the highest epoch that the device has used, stored or still on its way; 0 for none."""
        return self._seen.get(reader_ip, 0)

    async def commanded(self, stream_id: UUID) -> int | None:
        """Return the highest epoch that was ever reserved; None when it is not this session's to command."""
        return await commanded_epoch(self._process.pool, stream_id, session_id=self._connection.session_id)

    async def reserve(
        self, reader_ip: str, stream_id: UUID, race_id: UUID | None, unless_beyond: int
    ) -> int | None:
        """Reserve the next epoch, unless one was beyond that."""
        pool, seen = self._process.pool, self.seen(reader_ip)
        session_id = self._connection.session_id
        if race_id is not None:
            return await next_epoch_of_race(
                pool, stream_id, race_id, seen=seen, session_id=session_id, unless_beyond=unless_beyond
            )
        return await next_epoch(
            pool, stream_id, seen=seen, session_id=session_id, unless_beyond=unless_beyond
        )

    async def after_conflict(self, forwarder_id: str, reader_ip: str, stream_id: UUID, *, epoch: int) -> None:
        """Command a reader that numbers from 1 again to a fresh epoch, once in a session.

        One that was commanded beyond the conflict's epoch before has been told: what conflicts is the last of what
        lay in its journal then, and another reset would be one too many. When more of it comes, and nothing of a
        higher epoch, the command was lost, or the journal was lost again.
        """
        if reader_ip in self._reset:
            return
        # The ack task alone comes here, one conflict after the other, so the sets do not change while it waits.
        spared = reader_ip in self._spared
        if spared and self._seen.get(reader_ip, 0) > epoch:
            return
        unless_beyond = None if spared else epoch
        commanded = await self.command(
            forwarder_id, reader_ip, stream_id, asked_by="conflict", unless_beyond=unless_beyond
        )
        (self._spared if commanded is None else self._reset).add(reader_ip)


class _Reservation:
    """One epoch that is reserved for a command. The database may be lost over it at any point: then it was reserved or
    not, and `make` is to be called again.
    """

    def __init__(
        self,
        epochs: Epochs,
        reader_ip: str,
        stream_id: UUID,
        race_id: UUID | None,
        unless_beyond: int | None,
    ) -> None:
        self._epochs = epochs
        self._reader_ip = reader_ip
        self._stream_id = stream_id
        self._race_id = race_id
        self._unless_beyond = math.inf if unless_beyond is None else unless_beyond
        self._tried_above: int | None = None  # what was commanded before the last try

    async def make(self, until: float) -> int | None:
        """Return the epoch; None when there is none for this session to command."""
        while True:
            # What waited behind another reset, or for the database, may be too late by now, or have outlived its
            # socket.
            _still(until)
            commanded = None if self._epochs.gone else await self._epochs.commanded(self._stream_id)
            if commanded is None:
                return None
            tried_above = self._tried_above
            if tried_above is None and commanded > self._unless_beyond:
                return None
            # Nobody else reserves, and this session one after the other: it is ours, and we have not been told. One
            # that the device has passed since is a gap.
            if tried_above is not None and commanded > max(tried_above, self._epochs.seen(self._reader_ip)):
                return commanded
            self._tried_above = commanded
            # By this a try that is still on its way in the database and this one are one: the second is refused.
            epoch = await self._epochs.reserve(
                self._reader_ip, self._stream_id, self._race_id, unless_beyond=commanded
            )
            if epoch is not None or tried_above is None:
                return epoch
            if await self._epochs.commanded(self._stream_id) in (None, commanded):
                return None  # refused for good


def _still(until: float) -> None:
    """A process that was stopped for a while must not go on with what is too late by now."""
    if asyncio.get_running_loop().time() >= until:
        raise TimeoutError
