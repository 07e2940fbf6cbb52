"""How each fault is done to the stack and its devices. Each returns when it is over: from then on things must heal.

A fault that finds nothing to strike, or an operator's request that is honestly refused, is no failure; it is
counted by its answer.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg
import orjson

from deploy.stack.supervisor import Stack
from tests.chaos.desk import Answer, Desk
from tests.chaos.devices import WatchedForwarder
from tests.chaos.faults import ROLES, Fault, Strike
from tests.chaos.fleet import Fleet, name_of

__all__ = ["Injector"]

D = TypeVar("D")
Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_HALF_OPEN_S = 0.5
# Also "no such route or stream", "its device is away or busy", "nobody can now", and no answer of a killed process.
_HONEST = {200, 201, 202, 204, 404, 409, 503, 504, 0}
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'rt-server %' AND pid <> pg_backend_pid()
ORDER BY application_name, pid
"""
_BELLS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database()
  AND (application_name LIKE 'rt-server % listener' OR application_name LIKE 'rt-server % bell')
"""


class Injector:
    """Does faults; `answers` counts what operators were told, by request and status, `problems` says
    what they should not have been told.
    """

    def __init__(self, stack: Stack, fleet: Fleet, desk: Desk) -> None:
        self.answers: Counter[str] = Counter()
        self.problems: list[str] = []
        self._restarting = asyncio.Lock()
        self._stack, self._fleet, self._desk = stack, fleet, desk
        self._ways: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "end": self._end_backend,
            "crash": self._crash,
            "plug": self._plug_out,
            "cut": self._cut,
            "half-open": self._half_open,
            "send": self._send_twice,
            "reset": self._reset_epochs,
            "lose": self._lose_journal,
            "revoke": self._revoke_token,
            "withhold": self._withhold_bells,
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

    async def _withhold_bells(self, fault: Fault) -> None:
        """End whoever listens or rings, and again as soon as they are back: what rings meanwhile is not heard."""

        async def silence(database: Database) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(fault.seconds):
                    while True:
                        await database.execute(_BELLS)
                        await asyncio.sleep(0.02)

        await self._in_database(silence)

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

    async def _lose_journal(self, fault: Fault) -> None:
        for each in self._picked(fault, self._fleet.forwarders)[:1]:
            await each.reboot(each.lose_journal)

    async def _reset_epochs(self, fault: Fault) -> None:
        streams = await self._ask("list streams", "GET", "/api/v1/streams")
        if streams.status != 200:
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

    async def _ask(self, what: str, method: str, path: str, **how: Any) -> Answer:
        answer = await self._desk.ask(method, path, **how)
        self.answers[f"{what} {answer.status or 'unanswered'}"] += 1
        if answer.status not in _HONEST:
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
