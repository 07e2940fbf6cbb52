"""What tests share: one Postgres for each test process, a fresh migrated database for each test."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import structlog
from testing.postgresql import Postgresql

from deploy.stack.postgres_programs import write_launchers
from shared.migrate import migrate

_TEMPLATE = "rt_template"
_numbers = itertools.count(1)

# -F, testing.postgresql's default, leaves out fsync: a crash of processes loses nothing by that, only one of the
# machine would.
POSTGRES_ARGS = "-h 127.0.0.1 -F -c max_connections=300 -c jit=off"


def start_cluster(directory: Path) -> Postgresql:
    """Start a Postgres of our own binaries; `terminate()`, then `start()` brings it back on its port."""
    directory.chmod(0o755)
    postgres, initdb = write_launchers(directory)
    base = directory / "cluster"
    base.mkdir()
    return Postgresql(
        postgres=str(postgres),
        initdb=str(initdb),
        base_dir=str(base),
        postgres_args=POSTGRES_ARGS,
        initdb_args="-U postgres -A trust --no-locale -E UTF8 -N",
    )


@pytest.fixture(autouse=True)
def logging_as_at_first() -> Iterator[None]:
    """Forget what a command that ran in this process has set: the next test looks for lines of any level."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgresql]:
    """One Postgres for the test process, with a migrated template."""
    with tempfile.TemporaryDirectory() as directory:
        postgres = start_cluster(Path(directory))
        try:
            asyncio.run(_make_template(postgres))
            yield postgres
        finally:
            postgres.stop()


@asynccontextmanager
async def fresh_database(cluster: Postgresql) -> AsyncIterator[str]:
    """Make a database with the schema in it, and drop it in the end."""
    name = f"test_{next(_numbers)}"
    await _execute(cluster, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield cluster.url(database=name)
    await _execute(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database_url(cluster: Postgresql) -> AsyncIterator[str]:
    """The address of a fresh database with the schema in it."""
    async with fresh_database(cluster) as url:
        yield url


@pytest.fixture
async def empty_database_url(cluster: Postgresql) -> AsyncIterator[str]:
    """The address of a fresh database with nothing in it."""
    name = f"test_{next(_numbers)}"
    await _execute(cluster, f"CREATE DATABASE {name}")
    yield cluster.url(database=name)
    await _execute(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def _make_template(cluster: Postgresql) -> None:
    await _execute(cluster, f"CREATE DATABASE {_TEMPLATE}")
    await migrate(cluster.url(database=_TEMPLATE))


async def _execute(cluster: Postgresql, statement: str) -> None:
    connection = await asyncpg.connect(cluster.url(database="postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
