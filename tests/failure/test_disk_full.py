"""The disk of the database fills under load, and is given room again: nothing is lost; meanwhile everyone is told."""

import errno
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from api.live import digest, view
from deploy.local.postgres_programs import give_to_server
from shared.runtime import liveness
from tests.failure.cluster import Cluster, own_cluster
from tests.failure.facts import Database
from tests.failure.fleet import fleet
from tests.programs import AS_ROOT
from tests.services import Process, services
from tests.waiting import wait_until
from writer import drain, upkeep

TOLD_WITHIN_S = 5.0

# A segment that is full is followed by a new one, and not by an old one that a checkpoint has done with.
_NEW_WAL = "-c wal_recycle=off -c min_wal_size=2MB -c max_wal_size=1GB"


@contextmanager
def small_disk(place: Path, mib: int) -> Iterator[Path]:
    """Mount a disk of so many MiB."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted ({mounted.stderr.decode().strip()}): {AS_ROOT}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that there is and return what takes it."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        while True:
            left = os.statvfs(disk)
            try:
                os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize)
                break
            except OSError as error:  # Postgres has taken some of it in between
                if error.errno != errno.ENOSPC:
                    raise
                file.truncate(0)
    return filler


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a name that is short enough for sockets."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
async def on_small_disk(place: Path) -> AsyncIterator[tuple[Cluster, Path]]:
    """A Postgres whose data are on a small disk, and its WAL on a large one."""
    wal = place / "wal"
    wal.mkdir()
    give_to_server(wal)
    with small_disk(place / "small", 96) as disk:
        async with own_cluster(disk, None, initdb_args=f"-X {wal} --wal-segsize=1") as cluster:
            yield cluster, disk


@pytest.fixture
async def wal_on_small_disk(place: Path) -> AsyncIterator[tuple[Cluster, Path]]:
    """A Postgres whose WAL is on a small disk."""
    large = place / "large"
    large.mkdir()
    with small_disk(place / "small", 24) as disk:
        wal = disk / "wal"
        wal.mkdir()
        give_to_server(wal)
        async with own_cluster(
            large, None, initdb_args=f"-X {wal} --wal-segsize=1", postgres_args=_NEW_WAL
        ) as cluster:
            yield cluster, disk


async def readiness(process: Process) -> dict[str, str]:
    """Return what keeps a process from being ready, by the name of the check."""
    async with aiohttp.ClientSession() as http, http.get(f"{process.url}/readyz") as answer:
        found: dict[str, str] = (await answer.json()).get("details", {})
        assert (answer.status == 503) == bool(found)
    return found


async def said(process: Process, words: str) -> bool:
    return any(words in each for each in (await readiness(process)).values())


async def is_ready(process: Process) -> bool:
    return not await readiness(process)


async def row_says_so(database: Database) -> bool:
    return bool(
        await database.fetchval(
            "SELECT EXISTS (SELECT FROM processes WHERE role = 'writer' AND NOT ready AND problem LIKE $1)",
            "%the disk is full%",
        )
    )


async def page_says_so(api: Process) -> bool:
    """Whether the verdict is red for it: it must be found without anything being written."""
    async with aiohttp.ClientSession() as http, http.get(f"{api.url}/api/v1/overview") as answer:
        if answer.status != 200:
            return False
        overview = await answer.json()
    told = [each for each in overview["troubles"] if each["signal"] == "database" and not each["ended_at"]]
    return overview["verdict"]["level"] == "act" and any(
        "the disk is full" in each["reason"] for each in told
    )


async def knows_of_nothing(api: Process) -> bool:
    """Whether it answers that there is no database, in words: operators must not take what it last saw for now."""
    async with aiohttp.ClientSession() as http, http.get(f"{api.url}/api/v1/overview") as answer:
        told = await answer.json()
    return answer.status == 503 and "database" in told["message"]


async def is_noted(database: Database) -> bool:
    return bool(
        await database.fetchval(
            "SELECT EXISTS (SELECT FROM activity WHERE event = 'storing_interrupted' AND fields->>'error' LIKE $1)",
            "the disk is full%",
        )
    )


async def next_segment(cluster: Cluster) -> bool:
    """Have the next line of the log go into a new segment; true when there was no room for one."""
    try:
        async with cluster.connection() as database:
            await database.execute("SELECT pg_switch_wal(), txid_current()")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return True
    return False


def test_everyone_is_told_of_a_full_disk_within_five_seconds_by_how_often_each_looks() -> None:
    """The sum of what each waits at the most; what the looks themselves take comes to it."""
    rows_are_read_s = view.STORAGE_EVERY_S + view.PACE_S + view.POLL_S
    pages_are_told_s = rows_are_read_s + digest.EVERY_S
    # A writer that cannot store says so in its row, and the page reads it there.
    assert drain.POLL_S + liveness.RENEW_EVERY_S + pages_are_told_s < TOLD_WITHIN_S
    # So does a gateway that cannot stage, at once; and a writer that has nothing to store reads it there, too.
    assert liveness.RENEW_EVERY_S + pages_are_told_s < TOLD_WITHIN_S
    assert liveness.RENEW_EVERY_S + upkeep.LOOK_EVERY_S < TOLD_WITHIN_S


async def test_a_full_disk_is_told_and_all_goes_on_when_there_is_room(
    on_small_disk: tuple[Cluster, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    cluster, disk = on_small_disk
    async with cluster.connection() as database, services(cluster.url, fanout=0, api=1) as running:
        (writer,), (gateway,), (api,) = running.writers, running.gateways, running.apis
        async with fleet(database, gateway.url, count=2) as devices:
            async with devices.racing():
                await devices.goes_on()
                filler = fill(disk)
                await wait_until(partial(said, writer, "the disk is full"), what="the writer to say so")
                await wait_until(
                    partial(row_says_so, database), what="its row to say so, for every api process"
                )
                await wait_until(partial(page_says_so, api), what="the page to say so")
                filler.unlink()
                await wait_until(partial(is_ready, writer), what="the writer to be ready again")
                await devices.goes_on()
            await devices.drained()
            await devices.whole(database)
        await wait_until(partial(is_noted, database), what="the entry for operators")
        assert await database.fetchval("SELECT count(*) FROM poisoned_parts") == 0
    logged = capfd.readouterr().err
    assert logged.count("database_unavailable") <= len(running.all)
    assert logged.count("staging_interrupted") <= 1


async def test_postgres_that_crashes_for_want_of_room_for_its_log_comes_back_with_everything(
    wal_on_small_disk: tuple[Cluster, Path],
) -> None:
    cluster, disk = wal_on_small_disk
    async with services(cluster.url, fanout=0, api=1) as running:
        (writer,), (gateway,), (api,) = running.writers, running.gateways, running.apis
        async with AsyncExitStack() as until_the_end:
            async with cluster.connection() as database:
                devices = await until_the_end.enter_async_context(fleet(database, gateway.url, count=2))
            async with devices.racing():
                await devices.goes_on()
                filler = fill(disk)
                await wait_until(partial(next_segment, cluster), what="Postgres to crash")
                await wait_until(partial(readiness, writer), what="the writer not to be ready")
                await wait_until(partial(readiness, gateway), what="nor the gateway")
                # The page says NO DATABASE for it, and strikes its numbers through (dashboard/test_link).
                await wait_until(
                    partial(knows_of_nothing, api), what="the api to say that it knows of nothing"
                )
                filler.unlink()

                async def is_back(process: Process) -> bool:
                    # As whoever runs it does: it cannot come back by itself as long as there is no room at all, and it
                    # may give up only now.
                    if not cluster.runs:
                        await cluster.start()
                    return await is_ready(process)

                for process in (writer, gateway, api):
                    await wait_until(partial(is_back, process), what="all to be ready again")
                await devices.goes_on()
            await devices.drained()
            async with cluster.connection() as database:
                await devices.whole(database)
