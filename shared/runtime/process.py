"""The life of a process, the same for every role: schema, pool, notifier, presence, listener, tasks, port; and the
same backwards, within one deadline, when a signal asks for it.

A service builds its parts, hands them over and has its loops end when `stop` is asked. An end of any task that
nobody asked for takes the whole process down, loudly: a process that lives but does nothing is worse than one
that is started again.
"""

import asyncio
import gc
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import uvloop
from aiohttp import web

from shared import log as logs
from shared.db.channels import ACTIVITY, Notifier
from shared.db.connections import Connection, Pool, create_pool
from shared.db.errors import DatabaseUnavailable, translated
from shared.db.listener import Listener
from shared.db.migrate import migrate
from shared.db.poll_loop import Outage, PollLoop
from shared.db.requirements import require_addresses, require_for_role
from shared.errors import RtServerError
from shared.runtime.activity import Activity
from shared.runtime.client_address import PROXIES
from shared.runtime.health import Checks, health_routes, problems
from shared.runtime.http import serving
from shared.runtime.liveness import Presence, Vitals
from shared.runtime.rate import Rate, counted
from shared.runtime.settings import Settings, host_port
from shared.runtime.stall import measuring_stalls
from shared.wake import Stop, Wake

__all__ = ["Process", "Task", "allow_open_files", "run_role"]

Task = Callable[[], Coroutine[Any, Any, None]]

# Devices, flushes and connections of the database together; compose's stop_grace_period is longer.
STOP_DEADLINE_S = 10.0
# A socket for each of ten thousand devices, and in a reverse proxy two.
OPEN_FILES = 65_536

log = logs.get_logger(__name__)


class Process:
    """What every role has: settings, the request to stop, a pool, a notifier, a listener, its own row, the activity
    log.

    counts: the counter of the events that the role handles; its row says how many they are in a second.
    """

    def __init__(
        self,
        role: str,
        settings: Settings,
        *,
        pool_size: int = 4,
        vitals: Callable[[], Vitals] = Vitals,
        counts: Sequence[str] = (),
        on_return: Callable[[], None] = lambda: None,
        pool_settings: Mapping[str, str] = {},
    ) -> None:
        self.role, self.settings = role, settings
        self.stop = Stop()
        # What other tasks need until their own end goes on until this.
        self.last_stop = Stop()
        self.outage = Outage()
        self._pool: Pool | None = None
        self._pool_size, self._pool_settings = pool_size, pool_settings
        self._on_return = on_return
        url, name, until = settings.direct_url, f"rt-server {role}", self.last_stop
        self.notifier = Notifier(url, name=name, stop=until, outage=self.outage)
        self.listener = Listener(url, name=name, stop=until, outage=self.outage, enabled=settings.listen)
        self.presence = self._presence(vitals, Rate(lambda: counted(*counts)))
        self.activity = Activity(
            self.presence.process_id,
            stop=until,
            outage=self.outage,
            written=lambda: self.notifier.notify(ACTIVITY),
        )
        self.checks: Checks = {
            "database": lambda: self.presence.problem,
            "listener": lambda: self.listener.problem,
            "stop": lambda: "stopping" if self.stop.asked else None,
        }
        # What keeps nobody from using the process, and operators should know of.
        self.concerns: Checks = {}

    def _presence(self, vitals: Callable[[], Vitals], rate: Rate) -> Presence:
        """Return the keeper of the process's row, which says with each renewal how the process is."""
        return Presence(
            self.settings.direct_url,
            role=self.role,
            address=host_port(self.settings.bind),
            holds_lock=self.settings.listen,
            stop=self.last_stop,
            outage=self.outage,
            vitals=lambda: vitals()._replace(
                events_per_second=rate.per_second(),
                ready=not problems(self.checks),
                problem=self._problem(),
            ),
            on_return=self._returned,
        )

    @property
    def pool(self) -> Pool:
        """The pool; there from the moment that tasks run."""
        if self._pool is None:
            raise RuntimeError("the process has not started")
        return self._pool

    def loop(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        poll_s: float | Callable[[], float],
        wake: Wake | None = None,
        channel: str | None = None,
        on_failure: Callable[[DatabaseUnavailable], None] = lambda _: None,
    ) -> PollLoop:
        """Return a loop that ends with the process; the rest as PollLoop has it."""
        return PollLoop(
            name,
            work,
            stop=self.stop,
            outage=self.outage,
            poll_s=poll_s,
            wake=wake,
            channel=channel,
            on_failure=on_failure,
        )

    def _problem(self) -> str | None:
        """Return what is wrong, for operators; what keeps the process from being ready comes first."""
        found = dict.fromkeys([*problems(self.checks).values(), *problems(self.concerns).values()])
        return "; ".join(found) or None

    def _returned(self) -> None:
        self.activity.note("database_back", level="warn", of=self.role, own=True, role=self.role)
        self._on_return()

    async def run(
        self,
        *,
        app: web.Application | None = None,
        tasks: Mapping[str, Task] = {},
        before: Callable[[], Awaitable[None]] | None = None,
        shut: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Live until a signal comes.

        app: the service's routes, to which the three of health are added. tasks: loops by name, which end when
        `stop` is asked. before: run once when the database is there, before any task. shut: run at the end,
        when no device is accepted any more: closes their connections. Raises RtServerError when the start fails.
        """
        # Before all that takes time: a stop during the start is kept, and ends the process as soon as it is up, or by
        # force after the deadline.
        self._obey_signals()
        # First: else the schema would be made where nothing of it is looked for.
        await require_addresses(self.settings.database_url, self.settings.direct_url)
        await migrate(self.settings.direct_url, self._note_migration)
        self.activity.told()
        async with self.connected():
            if before is not None:
                await before()
            await self._live(app or web.Application(), tasks, shut)

    async def _note_migration(self, connection: Connection, applied: list[str]) -> None:
        by = f"rt-server {self.role}"
        await self.activity.within(connection, "schema_migrated", count=len(applied), last=applied[-1], by=by)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold what the process has of the database, as its tasks need it: they find all of it there, and it is given
        up in the opposite order.
        """
        async with AsyncExitStack() as stack:
            self._pool = await create_pool(
                self.settings.database_url,
                name=f"rt-server {self.role}",
                size=self._pool_size,
                **self._pool_settings,
            )
            stack.callback(self._pool.terminate)
            # `migrate` has looked at the direct address; a pooler may leave out what we set.
            await self._look_through_the_pool(self._pool)
            # The listener last, and so the first to go: whoever it wakes finds a row and a notifier to work with.
            for part in (self.notifier, self.presence, self.listener):
                await stack.enter_async_context(part)
            yield

    async def _look_through_the_pool(self, pool: Pool) -> None:
        with translated():
            async with pool.acquire() as connection:
                found = await require_for_role(cast("Connection", connection), self.role)
        for each in found:
            log.warning("database_requirement", what=each.what, says=each.says, advice=each.advice)

    async def _live(
        self, app: web.Application, tasks: Mapping[str, Task], shut: Callable[[], Awaitable[None]] | None
    ) -> None:
        async with asyncio.TaskGroup() as lasting:
            for name, task in {
                "notifier": self.notifier.run,
                "listener": self.listener.run,
                "presence": self.presence.run,
                "activity": lambda: self.activity.run(self.pool),
            }.items():
                lasting.create_task(_guarded(name, task, self.last_stop), name=name)
            # Inside the other group: the service's tasks end first, while they can still notify, and note what they do.
            async with asyncio.TaskGroup() as group:
                for name, task in tasks.items():
                    group.create_task(_guarded(name, task, self.stop), name=name)
                group.create_task(self._serve(app, shut), name="serve")
            # Not reached where a task has failed: then the outer group cancels those that last, and what they had left
            # is lost.
            self.last_stop.ask()

    async def _serve(self, app: web.Application, shut: Callable[[], Awaitable[None]] | None) -> None:
        app.add_routes(health_routes(self.checks))
        app[PROXIES] = self.settings.trusted_proxies
        async with serving(app, self.settings.bind) as server:
            # What there is now stays for ever: a full collection that walks through it again and again stops the
            # process for 20 to 50 ms each time, every few seconds.
            gc.collect()
            gc.freeze()
            log.info("started", address=host_port(self.settings.bind))
            with measuring_stalls():
                await self.stop.wait()
            # No new devices before the old are told to go: they would come back to us.
            server.close()
            if shut is not None:
                # The loops have been asked to stop as well, but not those that last: a session that ends here still
                # notifies, and writes its entry.
                await shut()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        if main is None:
            raise RuntimeError("a process runs in a task")

        def insist() -> None:
            log.error("stopped_by_force")
            main.cancel()

        def ask() -> None:
            if self.stop.asked:
                insist()
                return
            log.info("stopping")
            loop.call_later(STOP_DEADLINE_S, insist)
            self.stop.ask()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask)


async def _guarded(name: str, task: Task, stop: Stop) -> None:
    # Its own errors go through to the group, which cancels all others: nobody goes on with half a process.
    await task()
    if not stop.asked:
        raise RuntimeError(f"task {name} ended though nobody asked it to")


def allow_open_files() -> None:
    """Have as many sockets as may be: what a shell or a service manager gives, 1,024, is a limit to be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_role(role: str, settings: Settings, main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a role to its end and return its exit code: 0 for an orderly stop.

    An error at the start is one line; only what nobody foresaw shows where it came from.
    """
    logs.configure(level=settings.log_level, form=settings.log_format, role=role)
    allow_open_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except RtServerError as error:
        log.error("cannot_run", error=str(error))
        return 1
    except BaseExceptionGroup as group:
        foreseen, rest = group.split(RtServerError)
        if rest is not None:
            log.error("unforeseen", exc_info=rest)
            # The last line is what a supervisor shows.
            log.critical("died", error=repr(_leaf(rest)))
        elif foreseen is not None:
            log.error("cannot_run", error=str(_leaf(foreseen)))
        return 1
    except asyncio.CancelledError:
        return 1
    log.info("stopped")
    return 0


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
