"""No process lives and does nothing: each is asked to do its work, and to do it alone.

A gateway takes a read of a device that is connected straight to it; a fanout delivers the reads of that device; a
writer stores one while the other writers stand still; an api answers. And none has more memory than it may, or holds
its event loop for longer.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp

from deploy.local.supervisor import Member, Stack
from deploy.simulation.devices.receiver import AT_ONCE
from tests.bench.report import resident_bytes
from tests.chaos.devices import WatchedForwarder, WatchedReceiver
from tests.chaos.faults import ROLES
from tests.chaos.fleet import Fleet, Mint
from tests.services import read_metric
from tests.waiting import wait_until

__all__ = ["MEMORY_MIB", "RollCall"]

MEMORY_MIB = 200
# Of work of its own, by the processor's clock: a machine that is busy, or a process that was stopped, is not counted.
STALL_S = 0.5
WITHIN_S = 15.0
_READER = "10.2.0.1:10000"


class RollCall:
    """Asks the processes of a stack; `peaks_mib` is the most memory that was seen of each role, `stalls_s` the longest
    that one of it held its event loop.
    """

    def __init__(self, stack: Stack, fleet: Fleet, mint: Mint, *, patience: float) -> None:
        self.peaks_mib = dict.fromkeys(ROLES, 0.0)
        self.stalls_s = dict.fromkeys(ROLES, 0.0)
        self._stack, self._fleet, self._mint = stack, fleet, mint
        self._within_s = WITHIN_S * patience
        self._witnesses = 0

    def weigh(self) -> list[str]:
        """Note each process' memory, and return who has too much."""
        found = []
        for member in self._members():
            with suppress(FileNotFoundError, ProcessLookupError):
                used_mib = resident_bytes(member.pid or 0) / 2**20
                self.peaks_mib[member.role] = max(used_mib, self.peaks_mib[member.role])
                if used_mib > MEMORY_MIB:
                    found.append(f"{member.role} {member.index} has {used_mib:.0f} MiB")
        return found

    async def ask_all(self) -> list[str]:
        """Have each process do its work, and return who does not."""
        found = self.weigh()
        works: dict[str, Callable[[Member], Awaitable[None]]] = {
            "gateway": self._takes_a_read,
            "writer": self._stores_alone,
            "fanout": self._delivers,
            "api": self._answers,
        }
        for member in self._members():
            try:
                await self._ready(member)
                async with asyncio.timeout(self._within_s):
                    await works[member.role](self._stack.member(member.role, member.index))
                    found += await self._was_held(self._stack.member(member.role, member.index))
            except (AssertionError, TimeoutError) as late:
                found.append(f"{member.role} {member.index} lives and does nothing: {late}")
        return found

    async def _was_held(self, member: Member) -> list[str]:
        """Note how long a process has held its event loop in the last minute, and say so where that was too long."""
        held_s = await read_metric(f"http://{member.address}", "rtserver_loop_longest_own_stall_seconds")
        self.stalls_s[member.role] = max(held_s, self.stalls_s[member.role])
        return [f"{member.role} {member.index} held its loop for {held_s:.2f} s"] if held_s > STALL_S else []

    def _members(self) -> list[Member]:
        return [member for member in self._stack.members if member.role in ROLES]

    async def _ready(self, member: Member) -> None:
        async def ready() -> bool:
            address = self._stack.member(member.role, member.index).address
            with suppress(aiohttp.ClientError, TimeoutError):
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as http,
                    http.get(f"http://{address}/readyz") as answer,
                ):
                    return answer.status == 200
            return False

        await wait_until(ready, deadline_s=self._within_s, what="/readyz")

    async def _takes_a_read(self, member: Member) -> None:
        async with self._witness(f"http://{member.address}") as witness:
            await self._bring(witness)

    async def _stores_alone(self, member: Member) -> None:
        others = [
            each.pid for each in self._members() if each.role == "writer" and each.index != member.index
        ]
        async with self._witness(self._stack.url) as witness:
            await witness.wait_connected()
            for pid in filter(None, others):
                os.kill(pid, signal.SIGSTOP)
            try:
                await self._bring(witness)
            finally:
                for pid in filter(None, others):
                    os.kill(pid, signal.SIGCONT)

    async def _delivers(self, member: Member) -> None:
        async with self._witness(self._stack.url) as witness:
            token, token_id = await self._mint("receiver", f"asks-{witness.device_id}")
            receiver = WatchedReceiver(
                url=f"http://{member.address}",
                token=token,
                token_id=token_id,
                receiver_id=f"asks-{witness.device_id}",
                streams=[(witness.device_id, _READER)],
                resumes=False,
                manners=AT_ONCE,
            )
            receiver.start()
            try:
                await self._bring(witness)
                await receiver.wait_for(1)
            finally:
                await receiver.off()
                receiver.arrivals.close()

    async def _answers(self, member: Member) -> None:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{member.address}/api/v1/streams") as answer,
        ):
            assert answer.status == 200, answer.status

    async def _bring(self, witness: WatchedForwarder) -> None:
        self._fleet.number += 1
        witness.say(self._fleet.number, self._fleet.random)
        await witness.drained()

    @asynccontextmanager
    async def _witness(self, url: str) -> AsyncIterator[WatchedForwarder]:
        """A device of its own, whose reads are in the account as all others are."""
        self._witnesses += 1
        name = f"witness-{self._witnesses}"
        token, token_id = await self._mint("forwarder", name)
        witness = WatchedForwarder(
            url=url,
            token=token,
            token_id=token_id,
            device_id=name,
            readers=[_READER],
            ledger=self._fleet.ledger,
        )
        witness.start()
        try:
            yield witness
        finally:
            await witness.off()
            witness.journal.close()
