"""What an overview says, and what makes it say something."""

from typing import Any
from uuid import UUID

from tests.api.seeds import (
    Database,
)

READ = "aa400000000123450a2a01123018455927a7"


def signals(overview: Any) -> dict[str, str]:
    """Return the levels of the open alerts, by signal."""
    return {each["signal"]: each["level"] for each in overview["troubles"] if each["ended_at"] is None}


async def add_conflict(database: Database, stream_id: UUID) -> int:
    conflict_id: int = await database.fetchval(
        """
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame, reader_timestamp,
                                         read_type, received_at, session_id)
        VALUES ($1, 1, 1, 'a', gen_random_uuid()::text::bytea, '', 'raw', now(), gen_random_uuid())
        RETURNING conflict_id
        """,
        stream_id,
    )
    return conflict_id
