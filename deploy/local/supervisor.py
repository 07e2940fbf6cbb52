"""The whole stack: Postgres, the role processes and the reverse proxy, as one thing that starts and stops.

It promises that `start` returns once everything answers and raises in one sentence what keeps it from that;
that `stop` ends everything in the order of who needs whom, within bounds; that nothing outlives it; and that
`stack.json` in the data directory tells at any moment what runs where. Role processes are asked nothing but
`/readyz`: what they do is not known here.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from signal import Signals
from typing import Literal

import aiohttp

from api.settings import ApiSettings
from deploy.local import StackError
from deploy.local.child import bound_log
from deploy.local.description import write_description
from deploy.local.directory_lock import DirectoryLock, DirectoryLockedError
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.reverse_proxy import ReverseProxy
from deploy.local.role import RoleProcess
from deploy.local.slot import Member, Program, Slot
from shared.db.connections import connect
from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import allow_open_files

__all__ = ["REVERSE_PROXY", "Member", "Stack", "role_command"]

POSTGRES = "postgres"
REVERSE_PROXY = "reverse_proxy"

# Who is stopped together, and how long they have. Devices are let go first, all at once, through a reverse proxy
# that still stands; the writer then stores what was staged; the database outlives everybody.
_STOPPED_IN_ORDER = (
    (("gateway", "fanout", "api"), 10.0),
    ((REVERSE_PROXY,), 5.0),
    (("writer",), 10.0),
    ((POSTGRES,), 10.0),
)
_POSTGRES_STOPS = {"fast": Signals.SIGINT, "immediate": Signals.SIGQUIT}

_START_S = 90.0  # recovery of a large database after a crash included
_DATABASE_ANSWER_S = 5.0
_PROBE_S = 1.0
_BOUND_LOGS_EVERY_S = 10.0


def role_command(role: str) -> Sequence[str]:
    """Return the command that runs a role's process."""
    # -P: the directory `up` was called from is no place to import from.
    return [sys.executable, "-P", "-m", "deploy", role]


class Stack:
    """A local stack over `data_dir`; `start` and `stop` belong to one event loop, in a thread that stays."""

    def __init__(
        self,
        *,
        data_dir: Path,
        bind: str = "127.0.0.1:8080",
        counts: Mapping[str, int],
        database_url: str | None = None,
        restart: bool = True,
        environment: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
        command: Callable[[str], Sequence[str]] = role_command,
    ) -> None:
        self._directory = data_dir.absolute()
        self._description = self._directory / "stack.json"
        self._counts = counts
        self._restart = restart
        self._environment = environment or {}
        self._say = say
        self._command = command
        self._lock = DirectoryLock(self._directory / "up.lock")
        self._postgres = EmbeddedPostgres(self._directory) if database_url is None else None
        self._given_url = database_url
        self._reverse_proxy = ReverseProxy(bind, data_dir=self._directory, upstreams=self._upstreams)
        self._slots: dict[tuple[str, int], Slot] = {}
        self._http: aiohttp.ClientSession | None = None
        self._log_keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The reverse proxy's URL."""
        return self._reverse_proxy.url

    @property
    def is_closed(self) -> bool:
        """Whether the api processes admit nobody."""
        return (
            "api" in self._counts
            and ApiSettings.read(
                {
                    name: self._role_environment().get(spec.variable)
                    for name, spec in ApiSettings.specs().items()
                }
            ).is_closed
        )

    @property
    def database_url(self) -> str:
        """The database's URL, password included; known once started."""
        return self._given_url or (self._postgres.url if self._postgres else "")

    @property
    def logs(self) -> Path:
        """The directory of the log files, one for each slot."""
        return self._directory / "logs"

    @property
    def members(self) -> list[Member]:
        """Every slot as it is now, Postgres and the reverse proxy included."""
        return [slot.member for slot in self._slots.values()]

    def member(self, role: str, index: int = 0) -> Member:
        """Return one slot as it is now."""
        return self._slots[role, index].member

    async def start(self) -> None:
        """Start everything, return when it all answers; StackError, and nothing left running, if it cannot."""
        self._lock_directory()
        try:
            async with asyncio.timeout(_START_S):
                await self._start()
        except TimeoutError:
            late = ", ".join(slot.name for slot in self._slots.values() if not slot.member.ready)
            await self.stop()
            raise StackError(f"not ready within {_START_S:.0f} s: {late}; see {self.logs}") from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._reverse_proxy.check_port()
        allow_open_files()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=_PROBE_S)
        )
        self._log_keeper = asyncio.create_task(self._bound_logs(), name="bound logs")
        if self._postgres is not None:
            await self._bring_up([self._add(POSTGRES, self._postgres, role=POSTGRES)])
        else:
            await _check_database(self.database_url)
        await self._bring_up(list(self._add_roles(self._http)))
        await self._bring_up([self._add("reverse proxy", self._reverse_proxy, role=REVERSE_PROXY)])

    async def stop(self) -> None:
        """Stop everything in order; may be called twice, and after a start that failed."""
        for slot in self._slots.values():
            slot.release()
        for roles, within_s in _STOPPED_IN_ORDER:
            slots = [slot for slot in self._slots.values() if slot.role in roles]
            await asyncio.gather(*(slot.stop(within_s=within_s) for slot in slots))
        if self._log_keeper is not None:
            self._log_keeper.cancel()
        if self._http is not None:
            await self._http.close()
        if self._lock.taken:
            self._description.unlink(missing_ok=True)
            self._lock.release()

    def kill(self) -> None:
        """End everything at once; a `stop` under way then has nothing left to wait for."""
        for slot in self._slots.values():
            slot.kill()

    async def until_failed(self) -> None:
        """Wait while all is well, or mends itself; raise what made a slot give up."""
        await asyncio.gather(*(slot.until_given_up() for slot in self._slots.values()))

    async def start_member(self, role: str, index: int = 0) -> None:
        """Start a program that has ended and is not started again by itself; return when it is ready."""
        slot = self._slots[role, index]
        slot.start()
        await slot.until_ready()

    async def stop_member(self, role: str, index: int = 0) -> None:
        """Stop one program in order, until `start_member`."""
        await self._slots[role, index].stop(within_s=10.0)

    async def restart_postgres(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the embedded Postgres, in order or as by a crash, and start it again with its data."""
        signals = (_POSTGRES_STOPS[mode], Signals.SIGKILL)
        await self._slots[POSTGRES, 0].stop(signals, within_s=10.0)
        await self.start_member(POSTGRES)

    def _lock_directory(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.take()
        except DirectoryLockedError as error:
            raise StackError(f"{error} (data directory {self._directory})") from None
        except OSError as error:
            raise StackError(f"cannot write to {self._directory}: {error.strerror}") from None

    def _add(self, name: str, program: Program, *, role: str, index: int = 0) -> Slot:
        slot = Slot(
            name,
            program,
            role=role,
            index=index,
            restart=self._restart,
            say=self._say,
            changed=self._describe,
        )
        self._slots[role, index] = slot
        return slot

    def _add_roles(self, http: aiohttp.ClientSession) -> Iterable[Slot]:
        environment = self._role_environment()
        for role, count in self._counts.items():
            for index in range(count):
                log = self.logs / f"{role}-{index}.log"
                program = RoleProcess(self._command(role), log=log, environment=environment, http=http)
                yield self._add(f"{role} {index}", program, role=role, index=index)

    def _role_environment(self) -> dict[str, str]:
        # The roles serve on loopback, so where the reverse proxy is decides whether others than this machine reach
        # them.
        own = {
            "DATABASE_URL": self.database_url,
            "PUBLISH": self._reverse_proxy.host,
            "PYTHONUNBUFFERED": "1",
        }
        environment = {**os.environ, **self._environment, **own}
        if self._postgres is None:
            return environment
        # Of other databases than ours: another address, and what libpq's variables ask of every server.
        return {
            name: value
            for name, value in environment.items()
            if name != "LISTEN_DATABASE_URL" and not name.startswith("PG")
        }

    async def _bring_up(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.start()
        await asyncio.gather(*(slot.until_ready() for slot in slots))

    def _upstreams(self) -> dict[str, list[str]]:
        return {role: [m.address for m in self.members if m.role == role] for role in self._counts}

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_BOUND_LOGS_EVERY_S)
            for log in self.logs.glob("*.log"):
                bound_log(log)

    def _describe(self) -> None:
        if self._lock.taken:
            write_description(
                self._description,
                database_url=self.database_url,
                reverse_proxy=self.url,
                members=self.members,
            )


async def _check_database(url: str) -> None:
    try:
        connection = await connect(url, name="rt-server up")
        await connection.close(timeout=_DATABASE_ANSWER_S)
    except DatabaseUnavailable as error:
        raise StackError(str(error)) from None
