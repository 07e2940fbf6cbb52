"""Gateways and writers inside the test's own process: quick to start, and open to a look inside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.app import Gateway
from gateway.settings import GatewaySettings
from shared.runtime.process import Process
from shared.runtime.settings import Settings
from tests.failure.facts import Database
from tests.inside import running
from tests.ports import free_port
from tests.services import make_token
from writer.drain import Drain


@dataclass
class Inside:
    """A gateway of the test's process, and the token of forwarder `f`."""

    gateway: Gateway
    url: str
    token: str


@asynccontextmanager
async def running_writer(database_url: str) -> AsyncIterator[Process]:
    """Run a writer in this process."""
    port = free_port()
    process = Process(
        "writer", Settings.read({"database_url": database_url, "bind": f"127.0.0.1:{port}"}), pool_size=1
    )
    async with running(process, process.run(tasks={"drain": Drain(process).run}), port):
        yield process


@asynccontextmanager
async def running_gateway(database_url: str, token: str, **settings: str) -> AsyncIterator[Inside]:
    """Run a gateway in this process."""
    port = free_port()
    given = {"database_url": database_url, "bind": f"127.0.0.1:{port}", **settings}
    gateway = Gateway(GatewaySettings.read(given))
    async with running(gateway.process, gateway.run(), port):
        yield Inside(gateway, f"http://127.0.0.1:{port}", token)


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Process]:
    """A writer."""
    async with running_writer(database_url) as process:
        yield process


@pytest.fixture
async def inside(database_url: str, database: Database) -> AsyncIterator[Inside]:
    """A gateway."""
    async with running_gateway(database_url, await make_token(database, "forwarder", "f")) as gateway:
        yield gateway


@pytest.fixture
async def other(database_url: str, inside: Inside) -> AsyncIterator[Inside]:
    """Another gateway over the same database."""
    async with running_gateway(database_url, inside.token) as gateway:
        yield gateway
