"""What receivers ask of the operators' API: put where an api process takes it, and the answer taken away.

The fanouts' user reads no request but by these (migrations/routines/receiver_requests.sql).
"""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["Answer", "ask", "take_answer", "withdraw"]

_ASK = "SELECT ask_once_for_receiver($1, $2, $3, $4, $5, $6, $7, $8)"
_TAKE_ANSWER = "SELECT request_id, answer FROM take_answer($1)"
_WITHDRAW = "SELECT withdraw_requests($1, $2)"


class Answer(NamedTuple):
    """What came of a request. row: its id. fields: those of the response, as JSON; None: no api process that took it
    knows the kind.
    """

    row: UUID
    fields: bytes | None


async def ask(
    pool: Pool,
    *,
    session_id: UUID,
    number: int,
    receiver_id: str,
    token_id: UUID,
    address: str,
    kind: str,
    body: bytes,
    within_s: float,
) -> UUID:
    """Put down what the receiver of a session asks, to be taken within a time; return the id of its row.

    number: of the request in its session. What is put down again under its number is not asked twice.
    """
    with translated():
        row: UUID = await pool.fetchval(
            _ASK, session_id, number, receiver_id, token_id, address, kind, body, within_s
        )
    return row


async def take_answer(pool: Pool, session_id: UUID) -> Answer | None:
    """Take the oldest answer for a session away; None when there is none."""
    with translated():
        row = await pool.fetchrow(_TAKE_ANSWER, session_id)
    return Answer(*row) if row else None


async def withdraw(pool: Pool, session_id: UUID, rows: Collection[UUID]) -> None:
    """Take requests back that nobody waits for any more."""
    with translated():
        await pool.execute(_WITHDRAW, session_id, list(rows))
