"""`rt-server migrate`: what every start does, with an entry in the log of who did it."""

from deploy.cli.entries import note_alone
from shared.db.migrate import migrate

__all__ = ["migrate_and_note"]


async def migrate_and_note(url: str) -> list[str]:
    """Bring the schema up to date, and return the names of what was applied; RtServerError when that cannot be."""
    applied = await migrate(url)
    if applied:
        await note_alone(url, "schema_migrated", {"count": len(applied), "last": applied[-1]})
    return applied
