"""Brings the schema up to what this code expects: plain SQL files, forward only, each in a transaction of its
own that records it first.

One advisory lock lets twenty processes start at once: one applies, the others wait and find it done. It ends
with its connection, so a process killed in mid-migration leaves nothing behind. A database that is newer than
the code, or whose applied files differ from ours, is refused.

Why not a library (ARCHITECTURE.md, Decisions): those that run plain SQL bring a second driver and keep their
lock in a table, where a killed process leaves it for ever; none refuses a newer database.
"""

import hashlib
from importlib import resources
from typing import NamedTuple

import asyncpg

from shared.database import Connection, connect
from shared.errors import DatabaseRefused, SchemaError, translated

__all__ = ["Migration", "available", "migrate"]

_LOCK = 0x7274_6D67  # "rtmg"; any number does that nothing else here locks

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT version, checksum FROM schema_migrations ORDER BY version"
_RECORD = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"


class Migration(NamedTuple):
    """One file of migrations/: its number, name and SQL."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL: an applied file is never edited."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def available() -> list[Migration]:
    """Return the migrations that this code carries, in order; their numbers run 1, 2, 3, ..."""
    files = [each for each in resources.files("migrations").iterdir() if each.name.endswith(".sql")]
    found = [Migration(int(each.name.split("_")[0]), each.name, each.read_text()) for each in files]
    return sorted(found)


async def migrate(url: str) -> list[str]:
    """Apply what is missing and return the names applied.

    Raises SchemaError for a database that is newer than the code or differs from it, or that this user may not change,
    DatabaseUnavailable when it cannot be reached.
    """
    migrations = available()
    connection = await connect(url, name="rt-server migrate", lock_timeout="60s")
    try:
        with translated():
            if _pending(migrations, await _applied(connection)):
                return await _apply_locked(connection, migrations)
            return []
    except DatabaseRefused as error:
        if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
            raise SchemaError(
                "the schema is older than this rt-server and this database user may not change it: run "
                "`rt-server migrate` and `rt-server roles` as the schema's owner"
            ) from error
        raise
    finally:
        await connection.close(timeout=5)


async def _apply_locked(connection: Connection, migrations: list[Migration]) -> list[str]:
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    await connection.execute(_CREATE_TABLE)
    pending = _pending(migrations, await _applied(connection))
    for each in pending:
        async with connection.transaction():
            await connection.execute(_RECORD, each.version, each.name, each.checksum)
            await connection.execute(each.sql)
    return [each.name for each in pending]


async def _applied(connection: Connection) -> dict[int, str]:
    """Return the checksums of applied migrations by number; empty for a new database."""
    try:
        return {row["version"]: row["checksum"] for row in await connection.fetch(_APPLIED)}
    except asyncpg.UndefinedTableError:
        return {}


def _pending(migrations: list[Migration], applied: dict[int, str]) -> list[Migration]:
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise SchemaError(
            f"the database's schema is version {newest}, this rt-server knows only up to {len(migrations)}: "
            "use a newer rt-server"
        )
    for each in migrations:
        if applied.get(each.version, each.checksum) != each.checksum:
            raise SchemaError(f"{each.name} was applied to the database with other contents than it has here")
    return [each for each in migrations if each.version not in applied]
