"""What a start needs of the database, in one place: every process asks at its start, and `rt-server doctor` asks the
same. What can be set for a connection is not asked for but set (shared/db/connections.py); it is looked at here all the
same, because a pooler may leave it out.

What is needed stops a start; what the promises rest on is said by the doctor alone, because a process that does not
start keeps none of them.
"""

from typing import NamedTuple

from shared.db.connections import SERVER_SETTINGS, Connection
from shared.db.errors import SchemaError, translated

__all__ = ["OLDEST_POSTGRES", "Facts", "Finding", "judge", "look", "require", "require_creation"]

OLDEST_POSTGRES = 18

# One statement that any Postgres since 10 can answer, whoever asks.
_LOOK = """
SELECT current_setting('server_version_num')::integer / 10000 AS version,
       pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only') = 'on' AS read_only,
       current_setting('server_encoding') AS encoding,
       array_to_string(current_schemas(false), ', ') AS search_path,
       current_setting('default_transaction_isolation') AS isolation,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       coalesce(current_setting('transaction_timeout', true), '0') AS transaction_timeout,
       current_user::text AS database_user,
       current_database()::text AS database,
       to_regnamespace('public') IS NOT NULL AS has_public,
       coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'USAGE'), false) AS may_use,
       coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false) AS may_create
"""


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
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    transaction_timeout: str
    database_user: str
    database: str
    has_public: bool
    may_use: bool
    may_create: bool


async def look(connection: Connection) -> Facts:
    """Return what the database says of itself; DatabaseUnavailable when it does not."""
    with translated():
        row = await connection.fetchrow(_LOOK)
    if row is None:
        raise RuntimeError("a SELECT without FROM has a row")
    return Facts(**row)


async def require(connection: Connection) -> Facts:
    """Look, and raise SchemaError with a line for each thing that nothing can start without."""
    facts = await look(connection)
    missing = [
        f"{each.what}: {each.says}; {each.advice}" for each in judge(facts) if each.needed and not each.well
    ]
    if missing:
        raise SchemaError("\n".join(missing))
    return facts


def require_creation(facts: Facts) -> None:
    """Raise SchemaError where the schema has to be made or changed, and this user may not."""
    if not facts.may_create:
        user, database = facts.database_user, facts.database
        raise SchemaError(
            f"the schema is to be made or brought up to date, and {user} may not create anything in the schema public "
            f"of {database}. If {user} owns our tables: GRANT CREATE ON SCHEMA public TO {user}, as the owner of the "
            f"database or a superuser. If {user} is a role's own user: run `rt-server roles` as the owner first"
        )


def judge(facts: Facts) -> list[Finding]:
    """Return what there is to say of a database."""
    return [_server(facts), _version(facts), *_needed(facts), *_promised(facts)]


def _server(facts: Facts) -> Finding:
    if facts.standby:
        advice = "DATABASE_URL must lead to the primary: use the address that follows it when it changes"
        return Finding("database", "a standby", advice)
    if facts.read_only:
        advice = "set default_transaction_read_only to off for the database and the services' users"
        return Finding("database", "read-only", advice)
    return Finding("database", "reachable, the primary")


def _version(facts: Facts) -> Finding:
    advice = f"upgrade to {OLDEST_POSTGRES} or newer; nothing has been changed in it"
    advice = "" if facts.version >= OLDEST_POSTGRES else advice
    return Finding("version", f"Postgres {facts.version}", advice, needed=True)


def _needed(facts: Facts) -> list[Finding]:
    pooled = (
        "is set for each connection, and something between leaves it out, or an older setting came before: set it for "
        "the database's users (deploy/docs/poolers.md)"
    )
    isolation, path = SERVER_SETTINGS["default_transaction_isolation"], SERVER_SETTINGS["search_path"]
    usable = facts.has_public and facts.may_use
    return [
        Finding(
            "encoding",
            facts.encoding,
            ""
            if facts.encoding == "UTF8"
            else "make the database anew with ENCODING 'UTF8' TEMPLATE template0",
            needed=True,
        ),
        # Schemas that there are and that may be used: none is what the next but one finds.
        Finding(
            "search_path", facts.search_path, _unless(facts.search_path in (path, ""), pooled), needed=True
        ),
        Finding("isolation", facts.isolation, "" if facts.isolation == isolation else pooled, needed=True),
        Finding(
            "schema public",
            "there" if usable else "missing" if not facts.has_public else f"closed to {facts.database_user}",
            ""
            if usable
            else "CREATE SCHEMA public, as the owner of the database"
            if not facts.has_public
            else "run `rt-server roles` as the owner, or GRANT USAGE ON SCHEMA public",
            needed=True,
        ),
    ]


def _promised(facts: Facts) -> list[Finding]:
    """Return the settings that the promises of ARCHITECTURE.md rest on."""
    commit = (
        "an ack goes out before its reads are safe (off), or before they are on the standby (local, remote_write). "
        "Set it to on, also for the database and the services' users"
    )
    timeout = (
        "ends exports and whatever else takes its time: set it to 0 for the database and the services' users"
    )
    return [
        Finding(
            "fsync",
            facts.fsync,
            _unless(facts.fsync == "on", "a crash loses what was acked. Turn it on and restart Postgres"),
        ),
        Finding(
            "full_page_writes",
            facts.full_page_writes,
            _unless(facts.full_page_writes == "on", "a power loss can tear stored pages. Turn it on"),
        ),
        Finding(
            "synchronous_commit",
            facts.synchronous_commit,
            _unless(facts.synchronous_commit in ("on", "remote_apply"), commit),
        ),
        Finding(
            "transaction_timeout",
            facts.transaction_timeout,
            _unless(facts.transaction_timeout == "0", timeout),
        ),
    ]


def _unless(well: bool, advice: str) -> str:
    return "" if well else advice
