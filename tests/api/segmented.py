"""Segments of races as rows, for tests that look at what follows them."""

from uuid import UUID

from tests.api.seeds import Database

__all__ = ["Key", "add_segment"]

# (epoch, seq)
Key = tuple[int, int]


async def add_segment(database: Database, race: UUID, stream_id: UUID, first: Key, end: Key | None) -> None:
    """Let the reads of a stream from one up to and without another, or all from it on, be of a race."""
    await database.execute(
        """
        INSERT INTO race_segments (race_id, stream_id, from_epoch, from_seq, to_epoch, to_seq)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        *(race, stream_id, *first, *(end or (None, None))),
    )
