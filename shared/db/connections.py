"""Connections to Postgres: the pool for statements, and single connections for what must keep a backend of
its own (a listener, a notifier, a lock: `pool.release()` would silently drop them).

Every connection has timeouts and TCP keepalive, so that a dead network shows within seconds.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg

from shared.db.errors import DatabaseUnavailable, translated
from shared.db.url import DatabaseUrl, parse_database_url

__all__ = [
    "LARGEST_BIGINT",
    "SERVER_SETTINGS",
    "STEADY_PLANS",
    "Connection",
    "Link",
    "Pool",
    "Statements",
    "Transaction",
    "connect",
    "create_pool",
    "ping",
    "transaction",
    "transaction_of",
]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
# A connection with a transaction begun on it, of a pool or of its own; and whatever runs statements, in one or not.
Transaction: TypeAlias = "Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Statements: TypeAlias = "Pool | Transaction"

# What a bigint can hold.
LARGEST_BIGINT = 2**63 - 1
# Far above any statement of ours, far below an operator's patience.
COMMAND_TIMEOUT_S = 60.0

# Whatever an administrator or a provider has set for the database or the user, each connection has these. Our
# statements are short: compiling them costs more than it saves. The keepalive finds a dead server after about 20 s also
# where nothing is under way. Names are looked up where our tables are, whatever else is on the path. Isolation is the
# one that our statements are written for. No limit in time ends an export, or a connection that listens: what must not
# last has a limit of its own.
SERVER_SETTINGS = {
    "jit": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "timezone": "UTC",
    "search_path": "public",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}

# More, which are not told at the start of a connection but set once it is there: a pooler's list of what it lets
# through need not grow, a Postgres that does not know one is still asked for its version, and what is stricter than
# ours stays. Nothing is read-only by default, no transaction ends before its time, none waits for a better moment
# (deferrable); an error ends a statement, not the connection; no row is left out unsaid; text is written and read as
# our SQL has it; tables are heaps; a statement may take the plan that it was written for. And a commit is on the disks
# that it is to be on before anyone is told of it; an administrator's remote_apply is that and more. Set, they also
# outlive a change of the server's own configuration.
PINS = """
SELECT set_config(name, value, false)
FROM (VALUES ('default_transaction_read_only', 'off'), ('default_transaction_deferrable', 'off'),
             ('transaction_timeout', '0'), ('exit_on_error', 'off'), ('row_security', 'on'),
             ('datestyle', 'ISO, MDY'), ('intervalstyle', 'postgres'), ('bytea_output', 'hex'),
             ('standard_conforming_strings', 'on'), ('transform_null_equals', 'off'), ('array_nulls', 'on'),
             ('default_table_access_method', 'heap'),
             ('enable_indexscan', 'on'), ('enable_indexonlyscan', 'on'), ('enable_nestloop', 'on')
     ) AS pinned (name, value)
WHERE current_setting(name, true) IS NOT NULL;
"""
DURABLE = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') <> 'remote_apply';
"""

# For loops whose few statements run all day: no planning each time, and plans that do not follow the statistics
# of a table that is empty now and huge in an hour. All their tables have the index that they need; what is wanted in
# the order of an index is read along that index and no other, since every other would have to be sorted.
STEADY_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


async def connect(url: str, *, name: str, **server_settings: str) -> Connection:
    """Open one connection; DatabaseUnavailable when that fails within the time that a connection may take.

    name: what pg_stat_activity shows. server_settings: further settings of this connection.
    """
    with _naming(url) as parsed:
        connection: Connection = await asyncpg.connect(**_arguments(parsed, name, server_settings))
        # Who asks for less has what nobody waits for, such as a sign of life.
        pins = PINS if "synchronous_commit" in server_settings else PINS + DURABLE
        await _pin(connection, pins, parsed.timeout_s)
    return connection


async def create_pool(url: str, *, name: str, size: int, **server_settings: str) -> Pool:
    """Open a pool of up to `size` connections; DatabaseUnavailable when not even one can be had."""
    with _naming(url) as parsed:
        pool: Pool = await asyncpg.create_pool(
            min_size=1,
            max_size=size,
            connection_class=_Ours,
            init=lambda connection: _pin(connection, PINS + DURABLE, parsed.timeout_s),
            **_arguments(parsed, name, server_settings),
        )
    return pool


async def _pin(connection: Connection, pins: str, timeout_s: float) -> None:
    try:
        await connection.execute(pins, timeout=timeout_s)
    except BaseException:
        connection.terminate()
        raise


@contextmanager
def _naming(url: str) -> Iterator[DatabaseUrl]:
    """Parse a URL, and have what goes wrong inside say which database it was, without a password."""
    place = "the database"
    try:
        parsed = parse_database_url(url)
        place = parsed.place
        with translated():
            yield parsed
    except (DatabaseUnavailable, ValueError, OverflowError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(f"cannot connect to {place}: {error}") from error


def _arguments(parsed: DatabaseUrl, name: str, server_settings: dict[str, str]) -> dict[str, Any]:
    _leave_closed_home()
    return {
        "dsn": parsed.url,
        "timeout": parsed.timeout_s,
        "ssl": parsed.tls,
        "command_timeout": COMMAND_TIMEOUT_S,
        "server_settings": {**SERVER_SETTINGS, "application_name": name, **server_settings},
    }


def _leave_closed_home() -> None:
    """Have no home rather than another user's, as in a container that runs as any uid with HOME=/root.

    asyncpg looks for certificates in ~/.postgresql, and a directory that it may not enter ends every connection.
    """
    home = os.environ.get("HOME")
    if home and os.path.exists(home) and not os.access(home, os.X_OK):
        os.environ["HOME"] = os.devnull


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Run what is inside in one transaction; its begin and commit raise our errors, like the statements do."""
    with translated():
        async with connection.transaction():
            yield


@asynccontextmanager
async def transaction_of(pool: Pool) -> AsyncIterator[Transaction]:
    """Run what is inside in one transaction, on a connection of a pool; the same holds for its errors."""
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            yield connection


class _Ours(asyncpg.Connection):
    """A connection that goes back into its pool with what ours have: resetting takes away what was set."""

    def get_reset_query(self) -> str:
        return f"{super().get_reset_query()}{PINS}{DURABLE}"


class Link:
    """One connection for one loop that works all the time, opened again after it was lost.

    A pool would reset the connection after each use, which costs a round trip.
    """

    def __init__(
        self,
        url: str,
        opened: Callable[[Connection], Awaitable[None]] | None = None,
        /,
        *,
        name: str,
        **server_settings: str,
    ) -> None:
        """opened: what each new connection does first; one that cannot is given up."""
        self._url = url
        self._name = name
        self._opened = opened
        self._server_settings = server_settings
        self._connection: Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection of which nobody has said that it is lost."""
        return self._connection is not None and not self._connection.is_closed()

    async def get(self) -> Connection:
        """Return the connection, open; DatabaseUnavailable when it cannot be had."""
        if self._connection is None or self._connection.is_closed():
            # Only now: until then `is_open` must not speak for a connection that does not LISTEN, or hold its lock,
            # yet.
            self._connection = await self._open()
        return self._connection

    async def _open(self) -> Connection:
        connection = await connect(self._url, name=self._name, **self._server_settings)
        try:
            if self._opened is not None:
                with translated():
                    await self._opened(connection)
        except BaseException:
            # Not close: that says goodbye first, to a server that may not answer.
            connection.terminate()
            raise
        return connection

    def drop(self) -> None:
        """Give the connection up: its state is not known any more."""
        if self._connection is not None:
            # What is under way on it may have happened or not. Nobody waits for the answer: the next `get` opens
            # another connection, and its user looks what became of it.
            self._connection.terminate()
            self._connection = None


async def ping(connection: Connection, *, timeout_s: float = 3.0) -> float:
    """Ask the connection itself for a sign of life; DatabaseUnavailable when there is none.

    Returns the share of the notification queue that is in use (0..1): asking for it is also what clears a
    queue that a dead listener has jammed, as was measured.
    """
    with translated():
        async with asyncio.timeout(timeout_s):
            usage = await connection.fetchval("SELECT pg_notification_queue_usage()")
    return float(usage)
