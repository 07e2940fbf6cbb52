"""Commands: taken once, while they are young enough, and answered."""

from typing import Literal, NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["Ending", "Taken", "end_command", "take_commands"]

Ending = Literal["done", "absent", "busy", "lost", "refused"]

# The gateways' user reads no command but by these (migrations/routines/commands.sql).
_TAKE = "SELECT * FROM take_commands($1)"
_END = "SELECT end_command($1, $2, $3)"


class Taken(NamedTuple):
    """A command as its row says it, of whatever kind; request is JSON, and may hold secrets.

    left_s: until it is too late. held: whether the session still has the device.
    """

    command_id: UUID
    session_id: UUID
    forwarder_id: str
    kind: str
    request: bytes
    left_s: float
    held: bool


async def take_commands(pool: Pool, gateway_id: UUID) -> list[Taken]:
    """Take what is asked of the sessions of this gateway, in the order of asking."""
    with translated():
        rows = await pool.fetch(_TAKE, gateway_id)
    return [
        Taken(
            row["command_id"],
            row["session_id"],
            row["forwarder_id"],
            row["kind"],
            row["request"],
            row["left_s"],
            row["held"],
        )
        for row in sorted(rows, key=lambda row: row["asked_at"])
    ]


async def end_command(pool: Pool, command_id: UUID, ending: Ending, answer: bytes | None) -> None:
    """Write down what came of a command."""
    with translated():
        await pool.execute(_END, command_id, ending, answer)
