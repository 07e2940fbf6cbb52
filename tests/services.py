"""Real role processes over a test's database, to be killed, stopped and started at will; and the tokens of devices."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import asyncpg

from shared.transport.tokens import token_hash
from tests.forks import Started, start_role
from tests.ports import free_port
from tests.waiting import wait_until

__all__ = ["Process", "Services", "free_port", "make_token", "read_metric", "services"]


@dataclass
class Process:
    """One role's process; its port stays the same over restarts."""

    role: str
    database_url: str
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    child: Started | None = None

    @property
    def url(self) -> str:
        """Where devices and people reach it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.child is not None
        return self.child.pid

    async def start(self) -> None:
        """Start it; `ready` says when it serves."""
        self.child = await start_role(
            self.role,
            {
                "DATABASE_URL": self.database_url,
                "BIND_ADDR": f"127.0.0.1:{self.port}",
                "LOG_LEVEL": "info",
                **self.environment,
            },
        )

    async def ready(self, *, deadline_s: float = 20.0) -> None:
        """Wait until /readyz says so."""

        async def answers() -> bool:
            assert self.child is not None
            if self.child.returncode is not None:
                raise AssertionError(f"{self.role} ended with {self.child.returncode}")
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(1)) as http,
                    http.get(f"{self.url}/readyz") as answer,
                ):
                    return answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        await wait_until(answers, deadline_s=deadline_s, what=f"{self.role} to be ready")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.child is not None
        self.child.send_signal(number)

    async def kill(self) -> None:
        """Kill -9, and wait for it to be gone."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end and return the exit code."""
        assert self.child is not None
        return await self.child.wait()

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        return await read_metric(self.url, name)


async def read_metric(url: str, name: str) -> float:
    """Return the sum of a metric of the process at `url`, over its labels."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


@dataclass
class Services:
    """The processes of a test, by role."""

    database_url: str
    gateways: list[Process]
    writers: list[Process]
    fanouts: list[Process]
    apis: list[Process]

    @property
    def all(self) -> list[Process]:
        """Every process."""
        return [*self.gateways, *self.writers, *self.fanouts, *self.apis]


@asynccontextmanager
async def services(
    database_url: str, *, gateway: int = 1, writer: int = 1, fanout: int = 1, api: int = 0, **environment: str
) -> AsyncIterator[Services]:
    """Run so many of each role; at the end all are killed."""

    def make(role: str, count: int) -> list[Process]:
        return [Process(role, database_url, environment) for _ in range(count)]

    running = Services(
        database_url,
        make("gateway", gateway),
        make("writer", writer),
        make("fanout", fanout),
        make("api", api),
    )
    try:
        for process in running.all:
            await process.start()
        await asyncio.gather(*(process.ready() for process in running.all))
        yield running
    finally:
        for process in running.all:
            if process.child is not None and process.child.returncode is None:
                process.signal(signal.SIGKILL)
                await process.ended()


async def make_token(database: "asyncpg.Connection[asyncpg.Record]", device_type: str, device_id: str) -> str:
    """Make a token as the api does, and return it."""
    token = secrets.token_urlsafe(32)
    await database.execute(
        "INSERT INTO device_tokens (token_hash, device_type, device_id) VALUES ($1, $2, $3)",
        token_hash(token),
        device_type,
        device_id,
    )
    return token
