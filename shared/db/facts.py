"""What a database says of itself to one connection, asked in one statement that any Postgres since 10 can answer,
whoever asks; and what is said of it to people.
"""

from typing import NamedTuple

from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["POOLED", "Facts", "Finding", "look", "unless"]

_LOOK = """
SELECT current_setting('server_version_num')::integer / 10000 AS version,
       pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       current_setting('server_encoding') AS encoding,
       array_to_string(current_schemas(false), ', ') AS search_path,
       current_setting('default_transaction_isolation') AS isolation,
       current_setting('session_replication_role') AS replication_role,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       coalesce(current_setting('transaction_timeout', true), '0') AS transaction_timeout,
       current_setting('statement_timeout') AS statement_timeout,
       coalesce(current_setting('idle_session_timeout', true), '0') AS idle_session_timeout,
       current_setting('idle_in_transaction_session_timeout') AS idle_in_transaction_session_timeout,
       current_setting('autovacuum') AS autovacuum,
       current_setting('track_counts') AS track_counts,
       current_setting('track_activities') AS track_activities,
       current_user::text AS database_user,
       current_database()::text AS database,
       to_regnamespace('public') IS NOT NULL AS has_public,
       coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'USAGE'), false) AS may_use,
       coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false) AS may_create,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'plpgsql') AS has_plpgsql
"""
# Why a connection of ours can have another setting than ours.
POOLED = (
    "is set for each connection, and something between leaves it out, or an older setting came before: set it for "
    "the database's users (deploy/docs/poolers.md)"
)


class Finding(NamedTuple):
    """One thing looked at: what it is, how it stands, and what to do if it is not well.

    needed: nothing starts while it is not well.
    """

    what: str
    says: str
    advice: str = ""
    needed: bool = False

    @property
    def well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice


class Facts(NamedTuple):
    """A database as one connection sees it."""

    version: int
    standby: bool
    read_only: bool
    encoding: str
    search_path: str
    isolation: str
    replication_role: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    transaction_timeout: str
    statement_timeout: str
    idle_session_timeout: str
    idle_in_transaction_session_timeout: str
    autovacuum: str
    track_counts: str
    track_activities: str
    database_user: str
    database: str
    has_public: bool
    may_use: bool
    may_create: bool
    has_plpgsql: bool


async def look(connection: Connection) -> Facts:
    """Return what the database says of itself; DatabaseUnavailable when it does not."""
    with translated():
        row = await connection.fetchrow(_LOOK)
    if row is None:
        raise RuntimeError("whoever is connected is a role, and in a database")
    return Facts(**row)


def unless(well: bool, advice: str) -> str:
    """Return what to do where something is not well."""
    return "" if well else advice
