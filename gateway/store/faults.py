"""What is wrong with a forwarder by what it sends, for operators."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["Fault", "clear_faults", "note_fault"]

Fault: TypeAlias = Literal["malformed", "long_line", "dead_letter", "too_many_readers", "too_many_epochs"]

# since: of a fault that was not seen for as long as operators are shown it, it begins anew.
_NOTE = """
INSERT INTO forwarder_faults AS known (forwarder_id, fault, complaint) VALUES ($1, $2, $3)
ON CONFLICT (forwarder_id, fault) DO UPDATE
SET complaint = excluded.complaint, last_at = now(), ended_at = NULL,
    since = CASE WHEN known.ended_at IS NULL AND known.last_at > now() - interval '5 minutes'
                 THEN known.since ELSE now() END
"""
_CLEAR = """
UPDATE forwarder_faults SET ended_at = now()
WHERE forwarder_id = $1 AND fault = ANY($2::text[]) AND ended_at IS NULL
"""


async def note_fault(pool: Pool, forwarder_id: str, fault: Fault, complaint: str) -> None:
    """Say what is wrong with a forwarder now."""
    with translated():
        await pool.execute(_NOTE, forwarder_id, fault, complaint)


async def clear_faults(pool: Pool, forwarder_id: str, faults: Sequence[Fault]) -> None:
    """Say that these are over."""
    with translated():
        await pool.execute(_CLEAR, forwarder_id, faults)
