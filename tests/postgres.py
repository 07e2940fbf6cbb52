"""Postgres servers for tests, quick to make: in memory where there is room, and as copies of one that was made once.

A test needs a database of its own, and some need a server of their own to break. On a disk that is most of what they
cost: a database is three hundred files. What is lost by memory is what only a crash of the machine would show.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pg8000.native import Connection, InterfaceError
from testing.postgresql import Postgresql

from deploy.local.postgres_programs import write_launchers
from shared.db.migrate import migrate
from tests.ports import free_port

__all__ = [
    "TEMPLATE",
    "Postgresql",
    "execute",
    "frozen",
    "make_seed",
    "remember_catalog",
    "start_cluster",
    "use_memory_for_files",
]

# The database with the schema in it, of which those of the tests are copies; each server has one.
TEMPLATE = "rt_template"

# -F, testing.postgresql's default, leaves out fsync: a crash of processes loses nothing by that, only one of the
# machine would.
POSTGRES_ARGS = "-h 127.0.0.1 -F -c max_connections=300 -c jit=off -c max_wal_size=256MB"

_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 4 * 1024**3


class _Patient(Postgresql):
    """A server that may take its time to stop: a machine that tests is often a busy one."""

    DEFAULT_KILL_TIMEOUT = 60.0
    _administering: Connection | None = None

    def administer(self, statement: str) -> None:
        """Execute a statement in the server's own database, over a connection that stays: a new one for each costs as
        much as a small statement.
        """
        if self._administering is None:
            self._administering = Connection(**self.dsn(database="postgres"))  # type: ignore[no-untyped-call]
        self._administering.run(statement)

    def terminate(self, *arguments: object) -> None:
        """Stop it; the connection is let go first."""
        if self._administering is not None:
            with suppress(InterfaceError):
                self._administering.close()
            self._administering = None
        super().terminate(*arguments)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Start it; one that has ended by itself, too, which the library takes for started."""
        if not self.is_alive():  # type: ignore[no-untyped-call]
            self.child_process = None
        super().start()  # type: ignore[no-untyped-call]


def use_memory_for_files() -> None:
    """Let temporary files lie in memory, where the system offers enough of it and lets programs be started there."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        return
    there = os.statvfs(_MEMORY)
    if there.f_bavail * there.f_frsize >= _MEMORY_NEEDED and not there.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = str(_MEMORY)


def start_cluster(
    directory: Path, seed: Path | None = None, *, initdb_args: str = "", postgres_args: str = ""
) -> Postgresql:
    """Start a Postgres of our own binaries; `terminate()`, then `start()` brings it back on its port.

    seed: what `make_seed` returned; without it the server is a new one, with nothing in it.
    """
    directory.chmod(0o755)
    postgres, initdb = write_launchers(directory)
    base = directory / "cluster"
    base.mkdir()
    return _Patient(  # type: ignore[no-untyped-call]
        postgres=str(postgres),
        initdb=str(initdb),
        base_dir=str(base),
        port=free_port(),
        boot_timeout=60,
        postgres_args=f"{POSTGRES_ARGS} {postgres_args}",
        initdb_args=f"-U postgres -A trust --no-locale -E UTF8 -N {initdb_args}",
        copy_data_from=None if seed is None else str(seed),
    )


@contextmanager
def frozen(cluster: Postgresql) -> Iterator[None]:
    """Stop all processes of a server, as a disk or a machine that hangs does: connections stay, and nothing answers."""
    postmaster = int((Path(cluster.get_data_directory()) / "postmaster.pid").read_text().split()[0])
    # The postmaster first, or it would start others meanwhile.
    os.kill(postmaster, signal.SIGSTOP)
    backends = [
        int(each) for each in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    ]
    try:
        _send(backends, signal.SIGSTOP)
        yield
    finally:
        _send([*backends, postmaster], signal.SIGCONT)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def make_seed(directory: Path) -> Path:
    """Return the data of a server with the schema in it, at rest; the first of all processes to ask makes it."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seed = directory / "seed"
        if not seed.exists():
            making = directory / "making"
            shutil.rmtree(making, ignore_errors=True)  # left by one that was killed
            making.mkdir()
            cluster = start_cluster(making)
            try:
                asyncio.run(_put_schema(cluster))
            finally:
                cluster.terminate()
            # Renamed when it is whole, so that nobody takes a part of it for the whole.
            Path(cluster.get_data_directory()).rename(seed)
            shutil.rmtree(making)
    return seed


async def _put_schema(cluster: Postgresql) -> None:
    await execute(cluster, f"CREATE DATABASE {TEMPLATE}")
    await migrate(cluster.url(database=TEMPLATE))
    await migrate(cluster.url(database="test"))


def remember_catalog(cluster: Postgresql, database: str) -> None:
    """Have a server write down what it has to know of a database before anyone can use it, as the first who connects
    has it do. It forgets that when it starts; copies of the database have it, and save each a third of its first
    connection.
    """
    Connection(**cluster.dsn(database=database)).close()


async def execute(cluster: Postgresql, statement: str) -> None:
    """Execute a statement in the server's own database."""
    assert isinstance(cluster, _Patient)
    await asyncio.to_thread(cluster.administer, statement)
