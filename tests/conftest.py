"""What tests share: one Postgres for each test process, a fresh migrated database for each test."""

import gc
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import forks
from tests.order import long_ones_first
from tests.postgres import (
    TEMPLATE,
    Postgresql,
    execute,
    make_seed,
    remember_catalog,
    start_cluster,
    use_memory_for_files,
)

_numbers = itertools.count(1)

# How many objects may be made before those that nobody holds are looked for. Tests make few circles and end soon.
_YOUNG = 10_000

use_memory_for_files()
forks.enable()
# Whether anybody keeps the clock of the machine that tests run on says nothing of what they test.
os.environ["CLOCK_KEPT"] = "yes"

# A busy machine is slow, which says nothing of what is tested.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let long tests begin first where several processes share them; all of them find the same order."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        long = [each for each in items if any(mark.name == "timeout" for mark in each.own_markers)]
        items[:] = long_ones_first(items, long, workers)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave all that was imported and collected out of what full collections walk through from now on: it stays until
    the end, and each walk through it is a third of a second, of every seventh that a test takes here.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


@pytest.fixture(autouse=True)
def logging_as_at_first() -> Iterator[None]:
    """Forget what a command that ran in this process has set: the next test looks for lines of any level."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server with the schema in it, from which new ones are made; the same for all test processes."""
    of_this_process = tmp_path_factory.getbasetemp()
    return make_seed(of_this_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_this_process)


@pytest.fixture(scope="session")
def cluster(seed: Path) -> Iterator[Postgresql]:
    """One Postgres for the test process, with a migrated template."""
    with tempfile.TemporaryDirectory() as directory:
        postgres = start_cluster(Path(directory), seed)
        try:
            remember_catalog(postgres, TEMPLATE)
            yield postgres
        finally:
            postgres.stop()


@asynccontextmanager
async def fresh_database(cluster: Postgresql, *, template: str = TEMPLATE) -> AsyncIterator[str]:
    """Make a database with the schema in it, and drop it in the end."""
    name = f"test_{next(_numbers)}"
    # Copied as files, which is less work than through the log; it costs checkpoints, which nobody else here waits for.
    await execute(cluster, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield cluster.url(database=name)
    finally:
        await execute(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database_url(cluster: Postgresql) -> AsyncIterator[str]:
    """The address of a fresh database with the schema in it."""
    async with fresh_database(cluster) as url:
        yield url


@pytest.fixture
async def empty_database_url(cluster: Postgresql) -> AsyncIterator[str]:
    """The address of a fresh database with nothing in it."""
    async with fresh_database(cluster, template="template1") as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
