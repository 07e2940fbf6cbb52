"""What receivers ask: taken once, while somebody waits for it, and answered."""

from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["OF_ONE", "Taken", "answer", "read_body", "take"]

# Of one receiver, at once, by all processes: as many as one of its sessions may ask.
OF_ONE = 16

# What another process takes just then is its. A request is not read yet: each may have 16 MiB. Whoever dies with one in
# hand leaves it without an answer, because what it asks for may have been done. Who has fewest in hand comes first, and
# nobody has more than $2: most requests wait for a device, and one receiver must not keep the others from all places.
_TAKE = """
WITH ranked AS MATERIALIZED (
    SELECT request_id, state, row_number() OVER (PARTITION BY receiver_id ORDER BY state = 'asked', request_id) AS place
    FROM receiver_requests
    WHERE state IN ('asked', 'taken') AND expires_at > clock_timestamp()
),
mine AS MATERIALIZED (
    SELECT waiting.request_id
    FROM ranked JOIN receiver_requests AS waiting USING (request_id)
    WHERE ranked.state = 'asked' AND waiting.state = 'asked' AND ranked.place <= $2
    ORDER BY ranked.place, waiting.request_id
    LIMIT $1
    FOR UPDATE OF waiting SKIP LOCKED
)
UPDATE receiver_requests AS taken SET state = 'taken'
FROM mine
WHERE taken.request_id = mine.request_id
RETURNING taken.request_id, session_id, receiver_id, token_id, address, kind, octet_length(body) AS size,
          extract(epoch FROM expires_at - clock_timestamp())::float8 AS left_s
"""
_BODY = "SELECT body FROM receiver_requests WHERE request_id = $1"
# Nobody may wait for it any more, and the row be gone.
_ANSWER = "UPDATE receiver_requests SET state = 'done', answer = $2 WHERE request_id = $1 AND state = 'taken'"


class Taken(NamedTuple):
    """A request as its row says it, of whatever kind. size: of its body, in bytes. left_s: until it is too late."""

    request_id: UUID
    session_id: UUID
    receiver_id: str
    token_id: UUID
    address: str
    kind: str
    size: int
    left_s: float


async def take(pool: Pool, at_most: int) -> list[Taken]:
    """Take the oldest of what each receiver asks, in the order of asking."""
    with translated():
        rows = await pool.fetch(_TAKE, at_most, OF_ONE)
    return sorted(Taken(*row) for row in rows)


async def read_body(pool: Pool, request_id: UUID) -> bytes | None:
    """Return what is asked, which may hold secrets; None when nobody waits for it any more."""
    with translated():
        body: bytes | None = await pool.fetchval(_BODY, request_id)
    return body


async def answer(pool: Pool, request_id: UUID, fields: bytes | None) -> None:
    """Answer a request with the fields of its response; None: no handler knows it."""
    with translated():
        await pool.execute(_ANSWER, request_id, fields)
