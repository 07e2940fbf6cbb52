"""What a start needs of the database, in one place: every process asks at its start, and `rt-server doctor` asks the
same. What can be set for a connection is not asked for but set (shared/db/connections.py); it is looked at here all the
same, because a pooler may leave it out. Before all else: that both addresses of a process lead to one database.

What is needed stops a start, with a line that says what to do. What only a promise rests on is said in a line, and the
process starts: one that does not keeps none of them.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from secrets import randbits

from shared.db.connections import SERVER_SETTINGS, Connection, connect, transaction
from shared.db.errors import SchemaError, translated
from shared.db.facts import POOLED, Facts, Finding, look, unless
from shared.db.promised import judge_promised
from shared.db.rights import lacking
from shared.roles import ROLES

__all__ = [
    "CONNECTIONS",
    "OLDEST_POSTGRES",
    "Facts",
    "Finding",
    "judge",
    "judge_addresses",
    "judge_rights",
    "judge_room",
    "look",
    "refuse",
    "require",
    "require_addresses",
    "require_creation",
    "require_for_role",
    "room",
]

OLDEST_POSTGRES = 18
# What one process takes at the most: of an api process with all exports under way (tests/deploy/test_roles.py).
CONNECTIONS = {"gateway": 9, "writer": 6, "fanout": 8, "api": 20}
# So many rights are named in a line; the same command gives all of them.
_NAMED = 3

# How many more connections each of these users may open.
_ROOM = """
WITH taken AS MATERIALIZED (
    -- Of others' backends a service's user sees whose they are and in which database, and not of which type.
    SELECT usename, datname FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL
)
SELECT rolname::text,
       -- The narrowest of three; the last two and what is kept back do not bind a superuser.
       least(current_setting('max_connections')::integer - (SELECT count(*) FROM taken)
                 - CASE WHEN rolsuper THEN 0
                        ELSE current_setting('superuser_reserved_connections')::integer
                             + coalesce(current_setting('reserved_connections', true), '0')::integer END,
             CASE WHEN NOT rolsuper AND rolconnlimit >= 0
                  THEN rolconnlimit - (SELECT count(*) FROM taken WHERE usename = rolname) END,
             CASE WHEN NOT rolsuper AND datconnlimit >= 0
                  THEN datconnlimit - (SELECT count(*) FROM taken WHERE taken.datname = pg_database.datname) END)
FROM pg_roles, pg_database
WHERE rolname = ANY($1::text[]) AND pg_database.datname = current_database()
"""
# Taken through one address, looked for through the other: a lock is of one database of one server, by whatever names
# and poolers one gets there. Until the end of a transaction, for which a pooler keeps one backend.
_TAKE = "SELECT pg_advisory_xact_lock($1)"
_IS_TAKEN = """
SELECT EXISTS (
    SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 1
      AND classid::bigint << 32 | objid::bigint = $1)
"""


async def require(connection: Connection) -> Facts:
    """Look, and raise SchemaError with a line for each thing that nothing can start without."""
    facts = await look(connection)
    refuse(judge(facts))
    return facts


async def room(connection: Connection, users: Sequence[str]) -> dict[str, int]:
    """Return how many more connections each of these users may open."""
    with translated():
        return {user: max(left, 0) for user, left in await connection.fetch(_ROOM, users)}


async def judge_addresses(connection: Connection, direct: Connection) -> Finding:
    """Return whether what DATABASE_URL and LISTEN_DATABASE_URL lead to is one database."""
    key = randbits(63)
    async with transaction(connection):
        await connection.execute(_TAKE, key)
        with translated():
            same = await direct.fetchval(_IS_TAKEN, key)
    if same:
        return Finding("addresses", "DATABASE_URL and LISTEN_DATABASE_URL lead to one database", needed=True)
    advice = (
        "give both the same database's name on the same primary, one of them through the pooler; or take "
        "LISTEN_DATABASE_URL out"
    )
    says = "LISTEN_DATABASE_URL leads to another database than DATABASE_URL"
    return Finding("addresses", says, advice, needed=True)


async def require_addresses(url: str, direct_url: str) -> None:
    """Raise SchemaError where a process' two addresses lead to two databases: the schema would be made in one, and
    looked for in the other.
    """
    if url == direct_url:
        return
    async with AsyncExitStack() as stack:
        both = []
        for each in (url, direct_url):
            both.append(await connect(each, name="rt-server start"))
            stack.callback(both[-1].terminate)
        refuse([await judge_addresses(*both)])


async def require_for_role(connection: Connection, role: str) -> list[Finding]:
    """Look for a process of a role, through the very connections that it works on: also at what its user may do there.

    Raises SchemaError as `require` does; returns what is not well and stops nothing.
    """
    facts = await require(connection)
    user = facts.database_user
    refuse([judge_rights(role, user, (await lacking(connection, {role: user}))[user])])
    left = await room(connection, [user])
    return [each for each in (*judge(facts), judge_room(role, user, left[user])) if not each.well]


def refuse(findings: Sequence[Finding]) -> None:
    """Raise SchemaError with a line for each of these that is needed and not well."""
    missing = [
        f"{each.what}: {each.says}; {each.advice}" for each in findings if each.needed and not each.well
    ]
    if missing:
        raise SchemaError("\n".join(missing))


def require_creation(facts: Facts) -> None:
    """Raise SchemaError where the schema has to be made or changed, and this user may not."""
    refuse([_creation(facts, outdated=True)])


def judge(facts: Facts, *, outdated: bool = False) -> list[Finding]:
    """Return what there is to say of a database; outdated: its schema is to be made or changed by who asks."""
    found = [_server(facts), _version(facts), *_needed(facts), *judge_promised(facts)]
    return [*found, _creation(facts, outdated=outdated)]


def judge_rights(role: str, user: str, lacks: Sequence[str]) -> Finding:
    """Return what there is to say of what a role's user may do."""
    what = f"rights of {user}"
    if not lacks:
        return Finding(what, f"all that a process of the role {role} needs", needed=True)
    says = f"lacks {', '.join(lacks[:_NAMED])}" + (
        f" and {len(lacks) - _NAMED} more" if lacks[_NAMED:] else ""
    )
    others = {f"rt_{each}" for each in ROLES} - {f"rt_{role}"}
    advice = (
        "run `rt-server roles` as the owner of the tables: it gives each role's user what this release needs"
    )
    if user in others:
        advice = f"this database user is another role's: a {role} is rt_{role}"
    elif user != f"rt_{role}":
        advice = f"connect as rt_{role}, whom `rt-server roles` as the owner of the tables gives it, or as the owner"
    return Finding(what, says, advice, needed=True)


def judge_room(role: str, user: str, left: int) -> Finding:
    """Return whether a process of a role, which has one connection already, gets all that it may come to need.

    left: how many more its user may open.
    """
    takes = CONNECTIONS[role]
    advice = (
        f"parts of it wait or fail when they need one: run fewer processes, or raise max_connections of Postgres and "
        f"run `rt-server roles`, or raise the CONNECTION LIMIT of {user} or of the database"
    )
    says = f"a process of the role {role} takes up to {takes}, and {user} may open {left} more"
    return Finding(f"connections of {role}", says, unless(left >= takes - 1, advice))


def _server(facts: Facts) -> Finding:
    if facts.standby:
        advice = "DATABASE_URL must lead to the primary: use the address that follows it when it changes"
        return Finding("database", "a standby", advice, needed=True)
    if facts.read_only:
        return Finding("database", "read-only", f"default_transaction_read_only {POOLED}", needed=True)
    return Finding("database", "reachable, the primary", needed=True)


def _version(facts: Facts) -> Finding:
    advice = f"upgrade to {OLDEST_POSTGRES} or newer; nothing has been changed in it"
    advice = "" if facts.version >= OLDEST_POSTGRES else advice
    return Finding("version", f"Postgres {facts.version}", advice, needed=True)


def _needed(facts: Facts) -> list[Finding]:
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
            "search_path", facts.search_path, unless(facts.search_path in (path, ""), POOLED), needed=True
        ),
        Finding(
            "session_replication_role",
            facts.replication_role,
            unless(
                facts.replication_role == "origin",
                f"triggers and foreign keys do nothing then, and only a superuser can take it back: ALTER ROLE "
                f"{facts.database_user} (or ALTER DATABASE {facts.database}) RESET session_replication_role",
            ),
            needed=True,
        ),
        Finding("isolation", facts.isolation, "" if facts.isolation == isolation else POOLED, needed=True),
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
        Finding(
            "extensions",
            "plpgsql, and no other is needed" if facts.has_plpgsql else "plpgsql is missing",
            unless(
                facts.has_plpgsql, "CREATE EXTENSION plpgsql, as the owner of the database or a superuser"
            ),
            needed=True,
        ),
    ]


def _creation(facts: Facts, *, outdated: bool) -> Finding:
    """Return whether the schema can be brought up to date where it has to be."""
    user, database = facts.database_user, facts.database
    if not outdated or facts.may_create:
        return Finding("creation", f"{user} has nothing to create, or may", needed=True)
    return Finding(
        "creation",
        f"the schema is to be made or brought up to date, and {user} may not create anything in the schema public of "
        f"{database}",
        f"if {user} owns our tables: GRANT CREATE ON SCHEMA public TO {user}, as the owner of the database or a "
        f"superuser; if {user} is a role's own user: run `rt-server roles` as the owner first",
        needed=True,
    )
