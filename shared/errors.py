"""The tree of errors. asyncpg's own errors stop at each room's store: they come out of it as one of these.

Whether an error of the database passes by itself (wait, try again) or stays (the statement or its input
is at fault) is decided here and nowhere else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg

__all__ = [
    "DatabaseRefused",
    "DatabaseUnavailable",
    "ProtocolError",
    "RtServerError",
    "SchemaError",
    "SettingsError",
    "translated",
]


class RtServerError(Exception):
    """Anything that rt-server itself raises; its text is for people and holds no secret."""


class SettingsError(RtServerError):
    """The settings are wrong or missing: one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class SchemaError(RtServerError):
    """The database's schema is not one that this code can work with."""


class ProtocolError(RtServerError):
    """A device is refused: the error message that it is sent, after which its socket is closed.

    code: one of protocol.md's error codes.
    """

    def __init__(self, message: str, *, code: str = "PROTOCOL_ERROR") -> None:
        super().__init__(message)
        self.code = code


class DatabaseUnavailable(RtServerError):
    """The database cannot be reached or refuses work for now. Trying again is right."""


class DatabaseRefused(RtServerError):
    """The database refused a statement for good: trying the same again gives the same."""


_PASSING = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # class 57: shutdown, crash of another backend, cancelled by timeout
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, disk or memory full
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialization
    asyncpg.LockNotAvailableError,  # somebody held a lock for longer than our lock_timeout
    asyncpg.ReadOnlySQLTransactionError,  # the primary has become a standby
    asyncpg.InvalidAuthorizationSpecificationError,  # a password that is being rotated
    asyncpg.InterfaceError,  # the connection or the pool was closed under us
    asyncpg.InternalClientError,  # the same, where the server's last word met our next one
    OSError,
    TimeoutError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise DatabaseUnavailable or DatabaseRefused for what asyncpg and the network raise inside."""
    try:
        yield
    except _PASSING as error:
        raise DatabaseUnavailable(_described(error)) from error
    except asyncpg.PostgresError as error:
        raise DatabaseRefused(_described(error)) from error


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
