"""Commands: taken once, while they are young enough, and answered."""

from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.database import Pool
from shared.errors import translated

__all__ = ["Command", "Ending", "Kind", "end_command", "take_commands"]

Kind = Literal["epoch_reset", "config_get", "config_set", "restart"]
Ending = Literal["done", "absent", "busy", "lost"]

# What is taken is never taken again: whoever dies with it in hand leaves it without an answer. The clock that set the
# deadline decides whether it is too late.
_TAKE = """
UPDATE commands SET state = 'taken'
WHERE gateway_id = $1 AND state = 'asked' AND expires_at > clock_timestamp()
RETURNING command_id, session_id, forwarder_id, kind, request, asked_at,
          extract(epoch FROM expires_at - clock_timestamp())::float8 AS left_s,
          EXISTS (SELECT FROM forwarder_sessions AS session
                  WHERE session.forwarder_id = commands.forwarder_id AND session.session_id = commands.session_id
                    AND session.ended_at IS NULL) AS held
"""
# Who asked may have given up, and taken the row away.
_END = """
UPDATE commands SET state = $2, answer = $3
WHERE command_id = $1 AND state = 'taken'
"""


class Command(NamedTuple):
    """What an operator asks of the device of a session; request may hold secrets.

    left_s: until it is too late. held: whether the session still has the device.
    """

    command_id: UUID
    session_id: UUID
    forwarder_id: str
    kind: Kind
    request: dict[str, Any]
    left_s: float
    held: bool


async def take_commands(pool: Pool, gateway_id: UUID) -> list[Command]:
    """Take what is asked of the sessions of this gateway, in the order of asking."""
    with translated():
        rows = await pool.fetch(_TAKE, gateway_id)
    return [
        Command(
            row["command_id"],
            row["session_id"],
            row["forwarder_id"],
            row["kind"],
            msgspec.json.decode(row["request"]),
            row["left_s"],
            row["held"],
        )
        for row in sorted(rows, key=lambda row: row["asked_at"])
    ]


async def end_command(pool: Pool, command_id: UUID, ending: Ending, answer: bytes | None) -> None:
    """Write down what came of a command."""
    with translated():
        await pool.execute(_END, command_id, ending, answer)
