"""One run: the stack, its devices, strike after strike, what is checked meanwhile and what at the end.

After each strike the pipeline must flow again: to the last forwarder and the last receiver that is there to stay,
within FLOWS_WITHIN_S. `patience` widens every bound in time, for machines that are busy with something else, and
touches no other promise.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import orjson

from deploy.local import StackError
from deploy.local.supervisor import Stack
from tests.chaos import oracle
from tests.chaos.asking import Asking
from tests.chaos.attack import ATTACKER, Attacker, Entrance
from tests.chaos.desk import Desk
from tests.chaos.devices import WANTED_EPOCHS, NewerWatchedReceiver
from tests.chaos.faults import PROCESSES_OF_EACH_ROLE, ROLES, Strike, strikes
from tests.chaos.fleet import Fleet, fleet, name_of
from tests.chaos.hall import Hall
from tests.chaos.inject import Injector
from tests.chaos.ledger import Event
from tests.chaos.oracle import Stored
from tests.chaos.report import Outcome, Struck
from tests.chaos.roll_call import RollCall
from tests.chaos.tables import Tables, map_epochs, read_exports, read_tables
from tests.waiting import wait_until

__all__ = ["run"]

FLOWS_WITHIN_S = 5.0
# Also the time that a hung process may keep its devices to itself; and that all of them take to start.
FLOWS_LATER_S = 15.0
FLOWS_LATER = {"stop", "plug"}
# Who hangs on a stopped process is rebooted by somebody, when the reverse proxy has noticed.
REBOOTED_AFTER_S = 4.0
GIVES_UP_AFTER_S = 60.0
CHECK_EVERY = 5
# A device tries again at the latest after a second; what comes besides, a fault may cost it so often.
CONNECTS_FOR_A_FAULT, CONNECTS_A_SECOND = 5, 1.5
_LOOK_EVERY_S = 0.01
_TRIES = 20

Say = Callable[[str], None]


def _without_attacker(tables: Tables) -> tuple[list[Stored], list[Event]]:
    """Return what is stored and kept aside of those that have an account."""
    return (
        [each for each in tables.stored if not each.event.forwarder_id.startswith(ATTACKER)],
        [each for each in tables.conflicts if not each.forwarder_id.startswith(ATTACKER)],
    )


class StuckError(Exception):
    """It does not flow any more, and nothing that follows would mean anything."""


async def run(seed: int, *, minutes: float, patience: float, data_dir: Path, say: Say) -> Outcome:
    """Hold a run over a new stack in `data_dir`; raises StackError when that does not even start."""
    outcome = Outcome(seed, minutes)
    with (data_dir / "stack.log").open("w", buffering=1) as log:
        stack = Stack(
            data_dir=data_dir,
            bind="127.0.0.1:0",
            counts=dict.fromkeys(ROLES, PROCESSES_OF_EACH_ROLE),
            say=lambda line: print(f"{time.time():.2f} {line}", file=log),
        )
        await stack.start()
        try:
            async with aiohttp.ClientSession() as http:
                desk = Desk(http, stack.url)
                race_id = await create_race(desk)
                async with fleet(
                    stack.url, lambda kind, name: mint(desk, kind, name), Random(seed), race_id=race_id
                ) as devices:
                    attacker = Attacker(stack.url, await entrances(desk))
                    held = _Run(outcome, stack, devices, desk, attacker, patience=patience, say=say)
                    await held.hold(race_id)
        finally:
            await stack.stop()
    return outcome


async def mint(desk: Desk, device_type: str, device_id: str) -> tuple[str, str]:
    """Make a token; an api process that was just killed answers again soon."""
    for _ in range(_TRIES):
        wanted = {"device_type": device_type, "device_id": device_id}
        answer = await desk.ask("POST", "/api/v1/admin/tokens", json=wanted)
        if answer.status == 201:
            minted = orjson.loads(answer.body)
            return minted["token"], minted["token_id"]
        await asyncio.sleep(0.5)
    raise StuckError(f"no token for {device_id}: {answer.status}")


async def create_race(desk: Desk) -> str:
    """Return the id of a new race."""
    answer = await desk.ask("POST", "/api/v1/races", json={"name": "Marathon"})
    if answer.status != 201:
        raise StuckError(f"no race: {answer.status}")
    return str(orjson.loads(answer.body)["race_id"])


async def entrances(desk: Desk) -> list[Entrance]:
    """Return where an attacker comes in: with tokens of its own, and with one that nobody made."""
    ways = {
        "forwarder": ["/ws/v1/forwarders"],
        "receiver": ["/ws/v1/receivers", "/ws/v1.2/receivers"],
    }
    minted = {kind: (await mint(desk, kind, f"{ATTACKER}-{kind}"))[0] for kind in ways}
    return [
        Entrance(path, token)
        for kind, paths in ways.items()
        for path in paths
        for token in (minted[kind], "nobody's")
    ]


class _Run:
    def __init__(
        self,
        outcome: Outcome,
        stack: Stack,
        devices: Fleet,
        desk: Desk,
        attacker: Attacker,
        *,
        patience: float,
        say: Say,
    ) -> None:
        self._outcome, self._stack, self._fleet, self._desk = outcome, stack, devices, desk
        self._patience, self._say = patience, say
        self._injector = Injector(stack, devices, desk, attacker)
        self._roll_call = RollCall(
            stack, devices, lambda kind, name: mint(desk, kind, name), patience=patience
        )
        steady = [each for each in devices.steady if isinstance(each, NewerWatchedReceiver)]
        self._asking = Asking(steady, patience=patience)
        self._hall = Hall(desk, stack.database_url)
        self._began = time.monotonic()

    @property
    def _at_s(self) -> float:
        return time.monotonic() - self._began

    async def hold(self, race_id: str) -> None:
        """Load, strikes, checks, end; whatever is wrong is in the outcome."""
        try:
            async with self._load():
                await self._flows(GIVES_UP_AFTER_S)
                await map_epochs(self._stack.database_url, race_id, WANTED_EPOCHS)
                await self._hall.begin()
                await self._strike_on()
                await self._injector.end_attacks()
            await self._settle()
        except (StuckError, StackError, AssertionError) as stuck:
            self._violated([f"it is stuck: {stuck}"])
        asked = {f"receivers: {said}": times for said, times in self._asking.answers.items()}
        self._outcome.in_vain = dict(self._injector.in_vain)
        self._outcome.answers = {**self._injector.answers, **asked}
        self._outcome.peaks_mib, self._outcome.stalls_s = self._roll_call.peaks_mib, self._roll_call.stalls_s

    @asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Reads, and receivers that come and go, inside; an error of theirs is raised at the end."""
        tasks = [
            asyncio.create_task(each)
            for each in (self._fleet.race(), self._fleet.come_and_go(), self._asking.run())
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _strike_on(self) -> None:
        ends_at = self._outcome.minutes * 60
        for number, strike in enumerate(strikes(self._outcome.seed), start=1):
            await asyncio.sleep(strike.calm_s)
            if self._at_s > ends_at:
                return
            await self._strike(strike)
            if number % CHECK_EVERY == 0:
                await self._checkpoint()

    async def _strike(self, strike: Strike) -> None:
        at_s, connects = self._at_s, self._fleet.connects
        if strike.faults[0].what == "outlast":
            recovered_s = await self._outlast(strike)
        else:
            await self._injector.inject(strike)
            later = any(fault.what in FLOWS_LATER for fault in strike.faults)
            recovered_s = await self._flows(FLOWS_LATER_S if later else FLOWS_WITHIN_S, after=str(strike))
        self._outcome.struck.append(Struck(strike.kind, str(strike), round(at_s, 2), round(recovered_s, 3)))
        self._say(f"{at_s:6.1f} s  {strike}: flows again after {recovered_s:.2f} s")
        self._violated(self._roll_call.weigh())
        for problems in (self._injector.problems, self._asking.problems):
            self._violated(problems)
            problems.clear()
        self._violated(self._storms(strike, self._fleet.connects - connects, self._at_s - at_s))

    async def _outlast(self, strike: Strike) -> float:
        """Stop a process until the others do its work; then it comes back and must do no harm."""
        (fault,) = strike.faults
        pid = self._injector.pause(fault)
        rebooting = asyncio.create_task(self._reboot_hung(self._fleet.number), name="reboot who hangs")
        try:
            recovered_s = await self._flows(FLOWS_LATER_S, after=str(strike))
            await rebooting
        finally:
            rebooting.cancel()
            self._injector.resume(pid)
        await self._flows(FLOWS_WITHIN_S, after=f"the end of: {strike}")
        return recovered_s

    async def _reboot_hung(self, since: int) -> None:
        await asyncio.sleep(REBOOTED_AFTER_S)
        await asyncio.gather(*(device.reboot() for device in self._fleet.stuck(since)))

    async def _flows(self, within_s: float, *, after: str = "the start") -> float:
        """Wait until everybody has something younger than now; return how long that took."""
        since, began, late = self._fleet.mark(), time.monotonic(), False
        while stuck := self._fleet.stuck(since):
            waited_s = time.monotonic() - began
            names = ", ".join(map(name_of, stuck))
            if waited_s > GIVES_UP_AFTER_S * self._patience:
                raise StuckError(f"after {after}: {names}")
            if waited_s > within_s * self._patience and not late:
                late = True
                self._violated([f"not again after {within_s * self._patience:g} s, {after}: {names}"])
            await asyncio.sleep(_LOOK_EVERY_S)
        return time.monotonic() - began

    def _storms(self, strike: Strike, connects: Counter[str], within_s: float) -> list[str]:
        bound = CONNECTS_FOR_A_FAULT * len(strike.faults) + CONNECTS_A_SECOND * within_s
        self._outcome.reconnects += connects.total()
        return [
            f"{name} connected {times} times in {within_s:.1f} s, after {strike}"
            for name, times in connects.items()
            if times > bound
        ]

    async def _checkpoint(self) -> None:
        """Acked ⊆ stored, positions, counters; and every process is asked to work."""
        acked = set(self._fleet.ledger.acked)
        tables = await read_tables(self._stack.database_url)
        self._violated(oracle.lost_acks(acked, tables.stored, tables.conflicts))
        self._violated(self._told_right(tables))
        self._violated(self._hall.check(tables))
        self._violated(await self._roll_call.ask_all())
        self._outcome.checkpoints += 1
        self._say(
            f"{self._at_s:6.1f} s  checkpoint: {len(acked):,} acked, {len(tables.stored):,} stored, "
            f"{len(tables.conflicts):,} put aside as conflicts"
        )

    def _told_right(self, tables: Tables) -> list[str]:
        dead_lettered = (
            [f"{tables.dead_lettered} parts were put aside as dead letters"] if tables.dead_lettered else []
        )
        counted = oracle.counters(tables.stored, tables.conflicts, tables.counts)
        # A batch of the attacker's has both forms of lines, which are stored one form after the other.
        ours, _ = _without_attacker(tables)
        return [*oracle.positions(self._fleet.ledger, ours), *counted, *dead_lettered]

    async def _settle(self) -> None:
        """Let everything come home, and hold it against the journals."""
        await self._checkpoint()
        ledger, forwarders = self._fleet.ledger, self._fleet.forwarders
        await self._until(
            lambda: all(each.journal.backlog == 0 for each in forwarders), "the forwarders to drain"
        )
        tables = await read_tables(self._stack.database_url)
        self._violated(oracle.lost_acks(ledger.acked, tables.stored, tables.conflicts))
        self._violated(oracle.stored_once(ledger, *_without_attacker(tables)))
        self._violated(self._told_right(tables))
        self._violated(await self._hall.settle(within_s=GIVES_UP_AFTER_S * self._patience))
        self._violated(oracle.exports(await read_exports(self._desk), tables.stored, self._fleet.journals()))
        await self._check_receivers(tables)
        self._sum_up(tables)

    async def _check_receivers(self, tables: Tables) -> None:
        subscribed = {each.device_id for each in self._fleet.forwarders}
        due = [each for each in tables.stored if each.event.forwarder_id in subscribed]
        # What is stored by now is all there is: whatever it has of it comes with one more connection.
        await self._fleet.replaying.reboot()
        wanted = {
            receiver.receiver_id: [
                each for each in due if self._fleet.wants(receiver, each.event.stream_epoch)
            ]
            for receiver in self._fleet.receivers
        }
        await self._until(
            lambda: all(each.received >= len(wanted[each.receiver_id]) for each in self._fleet.receivers),
            "the receivers to have all",
        )
        for each in self._fleet.receivers:
            newer = isinstance(each, NewerWatchedReceiver)
            events = wanted[each.receiver_id]
            self._violated(oracle.delivered(each.receiver_id, each.connections, events, as_frames=newer))

    async def _until(self, check: Callable[[], bool], what: str) -> None:
        try:
            await wait_until(check, deadline_s=GIVES_UP_AFTER_S * self._patience, what=what)
        except AssertionError as late:
            self._violated([str(late)])

    def _sum_up(self, tables: Tables) -> None:
        self._outcome.events = len(tables.stored)
        self._outcome.acked = len(self._fleet.ledger.acked)
        self._outcome.delivered = self._fleet.events_delivered
        self._outcome.forgotten = len(self._fleet.ledger.forgotten)
        self._outcome.retransmits = sum(each.retransmit for each in tables.counts)
        self._outcome.conflicts = sum(each.conflict for each in tables.counts)

    def _violated(self, problems: list[str]) -> None:
        for problem in problems:
            self._outcome.violations.append(f"{self._at_s:.1f} s: {problem}")
            self._say(f"{self._at_s:6.1f} s  VIOLATION: {problem}")
