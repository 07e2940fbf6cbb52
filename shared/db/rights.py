"""What the user of each role must be allowed to do. migrations/roles.sql is the one list: `rt-server roles` runs it,
and here it is read as what it is, GRANTs, so that a start and the doctor ask for what is given there and nothing else.

Who owns the tables, or is a superuser, has all of it. What does not exist is not asked for: that is migrate's matter.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import product
from typing import NamedTuple

from shared.db.connections import Connection
from shared.db.errors import translated
from shared.roles import ROLES

__all__ = ["ROLES_FILE", "Right", "lacking", "needed_rights", "roles_sql", "users_with_rights"]

# In migrations/, run by `rt-server roles` alone.
ROLES_FILE = "roles.sql"

_COMMENT = re.compile(r"--[^\n]*")
# At the top of the script, or as the text that a loop executes; without a kind it is of tables.
_GRANT = re.compile(
    r"\bGRANT ([^;']+?)\s+ON (?:(DATABASE|SCHEMA|SEQUENCE|FUNCTION|PROCEDURE) )?([^;']+?)\s+TO ([\w,\s]+?)[;']"
)
_PRIVILEGE = re.compile(r"(\w+)\s*(?:\(([^)]*)\))?")

# One statement, whatever the number of rights. No right of what is not there: asked of NULL, each answers NULL.
_LACKING = """
SELECT needed.database_user,
       needed.privilege || CASE needed.kind WHEN 'DATABASE' THEN ' on the database'
                                            ELSE ' on ' || needed.name END
                        || CASE needed.column_name WHEN '' THEN '' ELSE '.' || needed.column_name END
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
     AS needed(database_user, privilege, kind, name, column_name, place)
LEFT JOIN pg_class c ON needed.kind IN ('TABLE', 'SEQUENCE') AND c.relname = needed.name
                    AND c.relnamespace = to_regnamespace('public')
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = needed.column_name
LEFT JOIN pg_proc p ON needed.kind IN ('FUNCTION', 'PROCEDURE') AND p.proname = needed.name
                   AND p.pronamespace = to_regnamespace('public')
WHERE NOT CASE needed.kind
              WHEN 'DATABASE' THEN
                  has_database_privilege(needed.database_user::name, current_database()::text, needed.privilege)
              WHEN 'SCHEMA' THEN
                  has_schema_privilege(needed.database_user::name, to_regnamespace(needed.name)::oid, needed.privilege)
              WHEN 'SEQUENCE' THEN has_sequence_privilege(needed.database_user::name, c.oid, needed.privilege)
              WHEN 'TABLE' THEN
                  CASE needed.column_name
                      WHEN '' THEN has_table_privilege(needed.database_user::name, c.oid, needed.privilege)
                      ELSE has_column_privilege(needed.database_user::name, c.oid, a.attnum, needed.privilege)
                  END
              ELSE has_function_privilege(needed.database_user::name, p.oid, needed.privilege)
          END
ORDER BY needed.place
"""
# A cluster may hold users of another database's services; those of this one were given something here, or ask.
_USERS = """
SELECT rolname::text FROM pg_roles
WHERE rolname = ANY($1::text[])
  AND (rolname = current_user
       OR EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee = pg_roles.oid))
"""


class Right(NamedTuple):
    """One thing that the user of a role must be allowed to do; of all columns where none is named: Right("writer",
    "UPDATE", "TABLE", "streams", "last_position").
    """

    role: str
    privilege: str
    kind: str
    name: str
    column: str = ""


def roles_sql() -> str:
    """Return the script that makes the users and gives each what it may."""
    return (resources.files("migrations") / ROLES_FILE).read_text()


@cache
def needed_rights() -> tuple[Right, ...]:
    """Return what the script gives, in its order."""
    return tuple(_granted(_COMMENT.sub("", roles_sql())))


def _granted(script: str) -> Iterator[Right]:
    for privileges, kind, names, users in _GRANT.findall(script):
        given = list(_privileges(privileges))
        for user, name, (privilege, column) in product(_words(users), _words(names), given):
            yield Right(user.removeprefix("rt_"), privilege, kind or "TABLE", name, column)


def _privileges(text: str) -> Iterator[tuple[str, str]]:
    """Yield privileges as they are granted: ("UPDATE", "display_name"), or ("SELECT", "") of all columns."""
    for privilege, columns in _PRIVILEGE.findall(text):
        yield from ((privilege, column) for column in _words(columns) or [""])


def _words(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


async def lacking(connection: Connection, users: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what each of these users lacks of what its role needs (users: by role), in words."""
    asked = [(users[each.role], *each[1:]) for each in needed_rights() if each.role in users]
    with translated():
        rows = await connection.fetch(_LACKING, *map(list, zip(*asked, strict=True)))
    found: dict[str, list[str]] = {user: [] for user in users.values()}
    for user, right in rows:
        found[user].append(right)
    return found


async def users_with_rights(connection: Connection) -> dict[str, str]:
    """Return the services' own users in this database by role; none where services connect as the owner."""
    with translated():
        rows = await connection.fetch(_USERS, [f"rt_{role}" for role in ROLES])
    return {str(user).removeprefix("rt_"): str(user) for (user,) in rows}
