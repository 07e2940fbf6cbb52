"""What people call a stream: in the log of operators, the writer's and the api's."""

from uuid import UUID

from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["stream_title"]

_TITLE = "SELECT stream_title(streams) FROM streams WHERE stream_id = $1"


async def stream_title(database: Statements, stream_id: UUID) -> str | None:
    """Return what people call a stream, as "Finish · 10.0.0.1:10000"; None when there is none of this id."""
    with translated():
        title: str | None = await database.fetchval(_TITLE, stream_id)
    return title
