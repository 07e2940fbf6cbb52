"""The tree of errors. asyncpg's own errors stop at each service's store: they come out of it as one of these.

What an error of the database means is decided here and nowhere else. There are two answers:

- The *data* of the statement are at fault (SQLSTATE classes 22 and 23): the same again gives the same, so whoever sent
  them is refused, or they are put aside. DatabaseRefused.
- Everything else is the *system's*: it cannot be reached, or is at fault itself (a right that was revoked, a table that
  is gone, a damaged file, a full disk, an error that nobody knows). Nobody's data may be dropped, refused or put aside
  for it. Whoever needs the database waits, and others go on where they can. DatabaseUnavailable.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared.errors import RtServerError

__all__ = [
    "DISK_FULL",
    "DatabaseFault",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "DiskFull",
    "RowLocked",
    "SchemaError",
    "TableLocked",
    "translated",
    "translated_rows",
]


class SchemaError(RtServerError):
    """The database's schema is not one that this code can work with."""


class DatabaseUnavailable(RtServerError):
    """The database cannot be reached, or cannot work for now. Trying again is right."""


class DatabaseFault(DatabaseUnavailable):
    """The database is there and at fault itself, as long as until a person mends it. Trying again is right."""


class DiskFull(DatabaseUnavailable):
    """The database has no room left to write to. It goes on by itself when there is some."""


class TableLocked(DatabaseUnavailable):
    """Another session has held what a statement needs for longer than that may wait."""


class RowLocked(RtServerError):
    """Somebody else holds a row that we need, and goes on holding it: an administrator, for it is nobody of ours.

    It is no DatabaseUnavailable: all other rows can be had, so whoever meets it goes on with those.
    """


class DatabaseRefused(RtServerError):
    """The data of a statement are at fault: trying the same again gives the same."""


_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # class 57: shutdown, crash of another backend, cancelled by timeout
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, memory full
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialization
    asyncpg.LockNotAvailableError,  # somebody held a lock for longer than our lock_timeout
    asyncpg.ReadOnlySQLTransactionError,  # the primary has become a standby
    asyncpg.InvalidAuthorizationSpecificationError,  # a password that is being rotated
    asyncpg.InterfaceError,  # the connection or the pool was closed under us
    asyncpg.InternalClientError,  # the same, where the server's last word met our next one
    OSError,
    TimeoutError,
)
# Data exceptions and violated constraints. A sequence that has come to its end is in class 22 and nobody's data.
_OF_THE_DATA = ("22", "23")
_OF_THE_SYSTEM_ALL_THE_SAME = asyncpg.SequenceGeneratorLimitExceededError
# What a process says of itself begins so, for all to see, while the database has no room left.
DISK_FULL = "the disk is full"
# In words, for people: what to look for, not where in our code it happened. Rows are not for logs.
_LONGEST_TEXT = 300


@contextmanager
def translated() -> Iterator[None]:
    """Raise one of the errors above for what asyncpg and the network raise inside."""
    try:
        yield
    except (*_UNAVAILABLE, asyncpg.PostgresError) as error:
        raise _meaning(error)(_described(error)) from error


@contextmanager
def translated_rows() -> Iterator[None]:
    """As translated(), of statements that lock single rows: RowLocked in place of TableLocked."""
    try:
        with translated():
            yield
    except TableLocked as error:
        raise RowLocked(f"another transaction holds a row: {error}") from error


def _meaning(error: BaseException) -> type[RtServerError]:
    """Return what an error is to whoever asked. What nobody knows is the system's."""
    if isinstance(error, asyncpg.DiskFullError):
        return DiskFull
    if isinstance(error, asyncpg.LockNotAvailableError):
        return TableLocked
    if isinstance(error, _UNAVAILABLE):
        return DatabaseUnavailable
    sqlstate = str(getattr(error, "sqlstate", None))
    if sqlstate.startswith(_OF_THE_DATA) and not isinstance(error, _OF_THE_SYSTEM_ALL_THE_SAME):
        return DatabaseRefused
    return DatabaseFault


def _described(error: BaseException) -> str:
    """Return the kind of an error and its first line; what follows there may show rows."""
    text = str(error).partition("\n")[0][:_LONGEST_TEXT]
    if isinstance(error, asyncpg.DiskFullError):
        return f"{DISK_FULL}: {text}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
