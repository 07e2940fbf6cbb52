"""`rt-server migrate`: what every start does, with an entry in the log of who did it."""

from deploy.cli.entries import note
from shared.db.connections import Connection
from shared.db.migrate import migrate

__all__ = ["migrate_and_note"]


async def migrate_and_note(url: str) -> list[str]:
    """Bring the schema up to date, and return the names of what was applied; RtServerError when that cannot be."""
    return await migrate(url, _note)


async def _note(connection: Connection, applied: list[str]) -> None:
    # Nobody is told: api processes look once a second.
    await note(connection, "schema_migrated", {"count": len(applied), "last": applied[-1]})
