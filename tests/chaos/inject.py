"""How each fault is done to the stack and its devices. Each returns when it is over: from then on things must heal.
Only an attack goes on, and hurts nobody.

A fault that finds nothing to strike, or an operator's request that is honestly refused, is no failure; it is
counted by its answer.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import asyncpg
import orjson

from deploy.local.supervisor import Stack
from tests.chaos.attack import Attacker
from tests.chaos.desk import Answer, Desk
from tests.chaos.devices import WatchedForwarder
from tests.chaos.faults import ROLES, Fault, Strike
from tests.chaos.fleet import Fleet, name_of
from tests.waiting import wait_until

__all__ = ["Injector"]

D = TypeVar("D")
Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_HALF_OPEN_S = 0.5
_HELD_AT_MOST = 8
# Also "no such route or stream", "its device is away or busy", "nobody can now", and no answer of a killed process.
_HONEST = {200, 201, 202, 204, 404, 409, 503, 504, 0}
# An I/O error for whatever is stored of some streams, until a given time. It is dropped afterwards; where it cannot be,
# because the database is away just then, it does nothing any more.
_FAIL = """
CREATE OR REPLACE FUNCTION chaos_io_error() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    IF clock_timestamp() < '{until}' AND NEW.stream_id = ANY ('{{{streams}}}'::uuid[]) THEN
        RAISE EXCEPTION 'could not write block' USING ERRCODE = 'io_error';
    END IF;
    RETURN NEW;
END
$function$;
CREATE OR REPLACE TRIGGER chaos_io_error BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION chaos_io_error();
"""
_STREAMS = "SELECT stream_id FROM streams WHERE forwarder_id LIKE 'mat-%' ORDER BY forwarder_id, reader_ip"
_MEND = "DROP TRIGGER IF EXISTS chaos_io_error ON events"
# How long numbers that overtake others may take to arrive; a second fault may keep them from it.
_OVERTAKEN_WITHIN_S = 2.0
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'rt-server %' AND pid <> pg_backend_pid()
ORDER BY application_name, pid
"""
_NOTIFICATIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database()
  AND (application_name LIKE 'rt-server % listener' OR application_name LIKE 'rt-server % notifier')
"""


class Injector:
    """Does faults; `answers` counts what operators were told, by request and status, `in_vain` faults that did not come
    about, `problems` says what they should not have been told.
    """

    def __init__(self, stack: Stack, fleet: Fleet, desk: Desk, attacker: Attacker) -> None:
        self.answers: Counter[str] = Counter()
        self.in_vain: Counter[str] = Counter()
        self.problems: list[str] = []
        self._restarting = asyncio.Lock()
        self._stack, self._fleet, self._desk = stack, fleet, desk
        self._attacker = attacker
        self._attacks: list[asyncio.Task[None]] = []
        self._ways: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "end": self._end_backend,
            "crash": self._crash,
            "plug": self._plug_out,
            "cut": self._cut,
            "half-open": self._half_open,
            "reset": self._reset_epochs,
            "control": self._control_readers,
            "lose": self._lose_journal,
            "revoke": self._revoke_token,
            "withhold": self._withhold_notifications,
            "fail": self._fail_drains,
            "send": self._send_again,
            "attack": self._attack,
        }

    async def inject(self, strike: Strike) -> None:
        """Do one or two faults of any kind but "outlast": `pause` and, when the others have taken over, `resume`."""

        async def one(fault: Fault, after_s: float) -> None:
            await asyncio.sleep(after_s)
            await self._ways[fault.what](fault)

        await asyncio.gather(*(one(each, place * strike.apart_s) for place, each in enumerate(strike.faults)))

    def pause(self, fault: Fault) -> int | None:
        """SIGSTOP the process; return its pid, None when there is none at the moment."""
        return self._signal(fault, signal.SIGSTOP)

    def resume(self, pid: int | None) -> None:
        """SIGCONT it."""
        _send(pid, signal.SIGCONT)

    def _signal(self, fault: Fault, number: signal.Signals) -> int | None:
        pid = self._stack.member(fault.role, fault.index).pid
        _send(pid, number)
        return pid

    async def _kill(self, fault: Fault) -> None:
        self._signal(fault, signal.SIGKILL)

    async def _stop(self, fault: Fault) -> None:
        pid = self.pause(fault)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            self.resume(pid)

    async def _end_backend(self, fault: Fault) -> None:
        async def end(database: Database) -> None:
            pids = [row["pid"] for row in await database.fetch(_BACKENDS)]
            if pids:
                await database.execute("SELECT pg_terminate_backend($1)", pids[fault.picks[0] % len(pids)])

        await self._in_database(end)

    async def _withhold_notifications(self, fault: Fault) -> None:
        """End whoever listens or notifies, and again as soon as they are back: what is sent meanwhile arrives
        nowhere."""

        async def silence(database: Database) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(fault.seconds):
                    while True:
                        await database.execute(_NOTIFICATIONS)
                        await asyncio.sleep(0.02)

        await self._in_database(silence)

    async def _fail_drains(self, fault: Fault) -> None:
        """Have the database refuse what comes of some streams, with an error that is nobody's data's."""

        async def fail(database: Database) -> None:
            streams = [row["stream_id"] for row in await database.fetch(_STREAMS)]
            until = await database.fetchval(
                "SELECT clock_timestamp() + $1::interval", timedelta(seconds=fault.seconds)
            )
            picked = ",".join(str(each) for each in self._picked(fault, streams))
            await database.execute(_FAIL.format(until=until, streams=picked))
            await asyncio.sleep(fault.seconds)
            await database.execute(_MEND)

        await self._in_database(fail)

    async def _attack(self, fault: Fault) -> None:
        """Begin: it must flow while this goes on."""
        how = fault.kind.partition(" ")[2]
        attack = self._attacker.attack(how, pick=fault.picks[0], seconds=fault.seconds)
        self._attacks.append(asyncio.create_task(attack, name=fault.kind))

    async def end_attacks(self) -> None:
        """Stop whoever still attacks; an error of theirs is raised."""
        attacks, self._attacks = self._attacks, []
        for each in attacks:
            each.cancel()
        for end in await asyncio.gather(*attacks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end

    async def _crash(self, _: Fault) -> None:
        async with self._restarting:  # two at once: one after the other
            await self._stack.restart_postgres("immediate")

    async def _plug_out(self, fault: Fault) -> None:
        for each in self._stack.members:
            if each.role in ROLES:
                _send(each.pid, signal.SIGKILL)
        await self._crash(fault)

    async def _cut(self, fault: Fault) -> None:
        for device in self._picked(fault, self._fleet.devices):
            self._fleet.link_of(device).cut()

    async def _half_open(self, fault: Fault) -> None:
        """Let nothing pass on the open connections any more; then the devices are rebooted, as they know no better."""
        struck = self._picked(fault, self._fleet.devices)
        for device in struck:
            self._fleet.link_of(device).freeze()
        await asyncio.sleep(_HALF_OPEN_S)
        await asyncio.gather(*(device.reboot() for device in struck))

    async def _send_twice(self, fault: Fault) -> None:
        struck = self._picked(fault, self._fleet.forwarders)
        await asyncio.gather(*(each.reboot(each.watched.forget_cursors) for each in struck))

    async def _send_again(self, fault: Fault) -> None:
        await (self._send_twice(fault) if fault.kind == "send twice" else self._send_late(fault))

    async def _send_late(self, fault: Fault) -> None:
        """Have numbers of an epoch stored behind higher ones, which every receiver has; some are away just then."""
        struck, since = self._picked(fault, self._fleet.forwarders), self._fleet.number
        held = 1 + fault.picks[0] % _HELD_AT_MOST
        for each in struck:
            each.watched.hold_back(each.readers[0], held)
            self._fleet.say(each, reads=len(each.readers) * (held + 1))
        try:
            try:
                await wait_until(
                    lambda: not self._fleet.missing(struck, since),
                    deadline_s=_OVERTAKEN_WITHIN_S,
                    what="the higher numbers",
                )
            except AssertionError:  # what is held back is not late then
                self.in_vain[fault.kind] += 1
            for receiver in self._picked(fault, self._fleet.receivers):
                self._fleet.link_of(receiver).cut()
        finally:
            await asyncio.gather(*(each.reboot(each.watched.let_go) for each in struck))

    async def _lose_journal(self, fault: Fault) -> None:
        for each in self._picked(fault, self._fleet.forwarders)[:1]:
            await each.reboot(each.lose_journal)

    async def _reset_epochs(self, fault: Fault) -> None:
        streams = await self._ask("list streams", "GET", "/api/v1/streams")
        if streams.status != 200:
            self.in_vain["reset epochs"] += 1
            return
        ours = [
            each for each in orjson.loads(streams.body)["streams"] if each["forwarder_id"].startswith("mat-")
        ]
        picked = {ours[pick % len(ours)]["stream_id"] for pick in fault.picks}
        await asyncio.gather(
            *(
                self._ask("reset epoch", "POST", f"/api/v1/streams/{each}/reset-epoch")
                for each in sorted(picked)
            )
        )

    async def _control_readers(self, fault: Fault) -> None:
        """Ask forwarders how a reader of theirs is; the first generation knows no such question, and may say so by its
        end.
        """
        readers = [(each, each.readers[0]) for each in self._picked(fault, self._fleet.forwarders)]
        await asyncio.gather(
            *(
                self._ask(
                    "control a reader",
                    "POST",
                    f"/api/v1/forwarders/{device.device_id}/readers/{reader_ip}/refresh",
                    honest=_HONEST | {502},
                )
                for device, reader_ip in readers
            )
        )

    async def _revoke_token(self, fault: Fault) -> None:
        """Give a device another token, and revoke the one that its session came with."""
        (device, *_) = self._picked(fault, self._fleet.devices)
        wanted = {
            "device_type": "forwarder" if isinstance(device, WatchedForwarder) else "receiver",
            "device_id": name_of(device),
        }
        minted = await self._ask("mint token", "POST", "/api/v1/admin/tokens", json=wanted)
        if minted.status != 201:
            return
        answer = orjson.loads(minted.body)
        # A session that begins from here on comes with the new token.
        revoked, sessions = device.token_id, device.sessions
        device.rotate(answer["token"], answer["token_id"])
        if (await self._ask("revoke token", "POST", f"/api/v1/admin/tokens/{revoked}/revoke")).status == 204:
            device.sessions_revoked = sessions

    async def _ask(
        self, what: str, method: str, path: str, *, honest: Collection[int] = _HONEST, **how: Any
    ) -> Answer:
        answer = await self._desk.ask(method, path, **how)
        self.answers[f"{what} {answer.status or 'unanswered'}"] += 1
        if answer.status not in honest:
            self.problems.append(f"{method} {path} was answered {answer.status} {answer.body[:200]!r}")
        return answer

    async def _in_database(self, act: Callable[[Database], Awaitable[None]]) -> None:
        """Act on a connection of our own; a database that is away is struck already."""
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            database = await asyncpg.connect(self._stack.database_url, timeout=5)
            try:
                await act(database)
            finally:
                database.terminate()

    @staticmethod
    def _picked(fault: Fault, devices: Sequence[D]) -> list[D]:
        chosen = {pick % len(devices) for pick in fault.picks}
        return [devices[place] for place in sorted(chosen)]


def _send(pid: int | None, number: signal.Signals) -> None:
    """Send a signal, unless there is no such process or it has just ended."""
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
