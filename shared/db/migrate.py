"""Brings the schema up to what this code expects: plain SQL files, forward only, each in a transaction of its
own that records it first.

One advisory lock lets twenty processes start at once: one applies, the others wait and find it done. It ends
with its connection, so a process killed in mid-migration leaves nothing behind. A database that is newer than
the code, or whose applied files differ from ours, is refused.

Tables are changed by numbered files, once. Functions, procedures, triggers and views hold no data: each file of
migrations/routines/ is applied whole, after the numbered ones, whenever the database has another text of it; never
over one of a higher version, which a newer release has put there while our processes are replaced.

Why not a library (ARCHITECTURE.md, Decisions): those that run plain SQL bring a second driver and keep their
lock in a table, where a killed process leaves it for ever; none refuses a newer database.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import NamedTuple, TypeAlias

import asyncpg

from shared.db.connections import Connection, connect
from shared.db.errors import DatabaseFault, SchemaError, translated
from shared.db.requirements import Facts, Finding, refuse, require, require_creation
from shared.db.rights import ROLES_FILE

__all__ = ["Migration", "Note", "Routine", "available", "available_routines", "judge_schema", "migrate"]

# Notes what has been applied, by its names, in the transaction that is given.
Note: TypeAlias = Callable[[Connection, list[str]], Awaitable[None]]

_LOCK = 0x7274_6D67  # "rtmg"; any number does that nothing else here locks

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_CREATE_ROUTINES_TABLE = """
CREATE TABLE IF NOT EXISTS schema_routines (
    name       text        PRIMARY KEY,
    version    integer     NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT version, checksum FROM schema_migrations ORDER BY version"
_RECORD = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"
_APPLIED_ROUTINES = "SELECT name, version, checksum FROM schema_routines"
_RECORD_ROUTINE = """
INSERT INTO schema_routines (name, version, checksum) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE
SET version = excluded.version, checksum = excluded.checksum, applied_at = now()
"""

# What a numbered file says of an earlier text of its own that did the same.
_ALSO_APPLIED_AS = re.compile(r"^-- applied as well as: ([0-9a-f]{64})\b", re.MULTILINE)
_ROUTINE_VERSION = re.compile(r"-- version: ([0-9]+)\n")


class Migration(NamedTuple):
    """One numbered file of migrations/: its number, name and SQL."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL: an applied file is never edited."""
        return _sha256(self.sql)

    @property
    def known_as(self) -> set[str]:
        """The checksums under which it may have been applied."""
        return {self.checksum, *_ALSO_APPLIED_AS.findall(self.sql)}


class Routine(NamedTuple):
    """One file of migrations/routines/: its name, the version that its first line says, and its SQL."""

    name: str
    version: int
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL."""
        return _sha256(self.sql)


class _Applied(NamedTuple):
    """What a database has: checksums of migrations by number, (version, checksum) of routines by name."""

    migrations: dict[int, str]
    routines: dict[str, tuple[int, str]]


def available() -> list[Migration]:
    """Return the migrations that this code carries, in order; their numbers run 1, 2, 3, ..."""
    return sorted(
        Migration(int(name.split("_")[0]), name, sql)
        for name, sql in _sql_files("migrations").items()
        if name != ROLES_FILE
    )


def available_routines() -> list[Routine]:
    """Return the routines that this code carries, in the order of their names; SchemaError without a version."""
    return [_routine(name, sql) for name, sql in sorted(_sql_files("migrations.routines").items())]


def _routine(name: str, sql: str) -> Routine:
    version = _ROUTINE_VERSION.match(sql)
    if version is None:
        raise SchemaError(f"routines/{name} does not begin with a line like `-- version: 1`")
    return Routine(name, int(version[1]), sql)


def _sql_files(package: str) -> dict[str, str]:
    files = [each for each in resources.files(package).iterdir() if each.name.endswith(".sql")]
    return {each.name: each.read_text() for each in files}


async def _no_note(_connection: Connection, _applied: list[str]) -> None:
    """Nobody is told."""


async def migrate(url: str, note: Note = _no_note) -> list[str]:
    """Apply what is missing or has changed, and return the names applied. note: called within the last transaction.

    Raises SchemaError, before anything is changed, for a database that lacks what every start needs, is newer than the
    code or differs from it, or that this user may not change; DatabaseUnavailable when it cannot be reached.
    """
    connection = await connect(url, name="rt-server migrate", lock_timeout="60s")
    try:
        facts = await require(connection)
        found, outstanding = await judge_schema(connection, facts)
        refuse([found])
        if not outstanding:
            return []
        require_creation(facts)
        with translated():
            return await _apply_locked(connection, available(), available_routines(), note)
    except DatabaseFault as error:
        if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
            raise SchemaError(
                "the schema is older than this rt-server, and this database user does not own it: run "
                "`rt-server migrate` and `rt-server roles` as the schema's owner"
            ) from error
        raise
    finally:
        await connection.close(timeout=5)


async def judge_schema(connection: Connection, facts: Facts) -> tuple[Finding, list[str]]:
    """Return how the schema stands, and the names of what a start would apply to it."""
    migrations = available()
    with translated():
        try:
            applied = await _applied(connection)
        except asyncpg.InsufficientPrivilegeError:
            return _unreadable(facts.database_user), []
    found = _judge(migrations, applied)
    if not found.well:
        return found, []
    return found, _names(_pending(migrations, applied), _changed(available_routines(), applied))


async def _apply_locked(
    connection: Connection, migrations: list[Migration], routines: list[Routine], note: Note
) -> list[str]:
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    await connection.execute(_CREATE_TABLE)
    await connection.execute(_CREATE_ROUTINES_TABLE)
    applied = await _applied(connection)
    refuse([_judge(migrations, applied)])  # what another has applied since we looked
    pending, changed = _pending(migrations, applied), _changed(routines, applied)
    for each in pending:
        async with connection.transaction():
            await connection.execute(_RECORD, each.version, each.name, each.checksum)
            await connection.execute(each.sql)
    names = _names(pending, changed)
    # In one transaction: they call each other, and nobody shall see half of them. The note, too: only now the tables
    # are as it knows them. A start that is killed between two files leaves the rest to the next one, with its note.
    async with connection.transaction():
        for routine in changed:
            await connection.execute(_RECORD_ROUTINE, routine.name, routine.version, routine.checksum)
            await connection.execute(routine.sql)
        if names:
            await note(connection, names)
    return names


def _names(pending: list[Migration], changed: list[Routine]) -> list[str]:
    return [each.name for each in pending] + [f"routines/{each.name}" for each in changed]


def _unreadable(user: str) -> Finding:
    advice = (
        "run `rt-server roles` as the owner of the tables, and connect as one of the users that it makes, or as the "
        "owner"
    )
    return Finding(f"rights of {user}", "may not read which version the schema has", advice, needed=True)


async def _applied(connection: Connection) -> _Applied:
    """Return what has been applied; nothing for a new database."""
    try:
        migrations = {row["version"]: row["checksum"] for row in await connection.fetch(_APPLIED)}
    except asyncpg.UndefinedTableError:
        migrations = {}
    try:
        rows = await connection.fetch(_APPLIED_ROUTINES)
    except asyncpg.UndefinedTableError:
        rows = []
    return _Applied(migrations, {row["name"]: (row["version"], row["checksum"]) for row in rows})


def _judge(migrations: list[Migration], applied: _Applied) -> Finding:
    """Return whether what has been applied is of this code, or of one before it."""
    newest, known = max(applied.migrations, default=0), len(migrations)
    if newest > known:
        says = f"version {newest} in the database, and this rt-server knows only up to {known}"
        return Finding("schema", says, "use a newer rt-server: that which is deployed", needed=True)
    for each in migrations:
        if applied.migrations.get(each.version, each.checksum) not in each.known_as:
            says = f"{each.name} was applied to the database with other contents than it has here"
            advice = (
                "use the rt-server that made this database and its data; or, where they are not needed any more, "
                "another database (of `rt-server up`: another --data-dir)"
            )
            return Finding("schema", says, advice, needed=True)
    return Finding("schema", f"version {newest} of {known}", needed=True)


def _pending(migrations: list[Migration], applied: _Applied) -> list[Migration]:
    return [each for each in migrations if each.version not in applied.migrations]


def _changed(routines: list[Routine], applied: _Applied) -> list[Routine]:
    """Return the routines that the database has in an older or another text, or not at all."""
    return [
        each
        for each in routines
        if (found := applied.routines.get(each.name, (0, "")))[1] != each.checksum
        and found[0] <= each.version
    ]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
