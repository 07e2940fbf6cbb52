"""What links are signed with, and the one clock that they expire by: the database's."""

from datetime import datetime
from typing import NamedTuple

from shared.db.connections import Statements, Transaction
from shared.db.errors import translated

__all__ = ["Sealing", "replace", "sealing"]

_SEALING = "SELECT secret, clock_timestamp() AS now FROM link_secret"
# As the table makes it: the secret is in no statement.
_REPLACE = "UPDATE link_secret SET secret = DEFAULT, changed_at = now()"


class Sealing(NamedTuple):
    """With what links are signed, and when that was looked up."""

    secret: bytes
    now: datetime


async def sealing(connection: Statements) -> Sealing:
    """Return with what links are signed now; asked with every link that is shown, so that none outlives its secret."""
    with translated():
        (row,) = await connection.fetch(_SEALING)
    return Sealing(*row)


async def replace(connection: Transaction) -> None:
    """Take another secret: no link of before is one any more."""
    with translated():
        await connection.execute(_REPLACE)
