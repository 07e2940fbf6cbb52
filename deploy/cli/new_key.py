"""`rt-server certificate new-key`: the key that certificates are signed with is replaced, and nobody sees its
secret.
"""

from api.certificate.signing import key_name, public_half
from deploy.cli.entries import note, tell
from deploy.cli.migrate import migrate_and_note
from shared.db.connections import Transaction, create_pool
from shared.db.errors import translated

__all__ = ["replace_key"]

# Of two at once the second waits, and then finds the key of the first. Who signs meanwhile waits for nobody.
_LOCK = "LOCK TABLE certificate_keys IN SHARE ROW EXCLUSIVE MODE"
_SIGNING = "SELECT secret FROM certificate_keys WHERE retired_at IS NULL"
_RETIRE = """
UPDATE certificate_keys SET secret = NULL, public_key = $1, retired_at = clock_timestamp() WHERE retired_at IS NULL
"""
# As the table makes it: the secret is in no statement.
_MAKE = "INSERT INTO certificate_keys DEFAULT VALUES"


async def replace_key(database_url: str) -> str:
    """Make another key, and return its name; RtServerError when that cannot be."""
    await migrate_and_note(database_url)
    pool = await create_pool(database_url, name="rt-server certificate", size=1)
    try:
        # Together: no key is without its entry.
        with translated():
            async with pool.acquire() as connection, connection.transaction():
                name = key_name(await _replaced(connection))
                await note(connection, "certificate_key_made", {"key": name})
        await tell(pool)
    finally:
        pool.terminate()
    return name


async def _replaced(connection: Transaction) -> bytes:
    """Retire the key that signs, of which only its public half is left, make another and return its public half."""
    await connection.execute(_LOCK)
    # None, where somebody has deleted the row.
    if secret := await connection.fetchval(_SIGNING):
        await connection.execute(_RETIRE, public_half(secret))
    await connection.execute(_MAKE)
    return public_half(await connection.fetchval(_SIGNING))
