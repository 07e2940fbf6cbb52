"""A database user for each service: runs migrations/roles.sql as the owner, and gives the users passwords that nobody
chooses.

A password is made here, kept in a file that only its service is given (libpq's format, which asyncpg reads too:
`?passfile=` in DATABASE_URL), and reaches the server only as the SCRAM verifier made of it.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from deploy.cli.entries import note
from shared.db.connections import Connection, connect
from shared.db.errors import translated
from shared.db.rights import roles_sql
from shared.errors import RtServerError
from shared.roles import ROLES

__all__ = ["apply_roles", "scram_verifier"]

# What Postgres itself takes by default.
_ITERATIONS = 4096
# psql's, who runs the script as it is.
_OWN_TRANSACTION = re.compile(r"^(BEGIN|COMMIT);$", re.MULTILINE)


async def apply_roles(url: str, *, passfiles: Path | None) -> None:
    """Make the users and grant what each may do; with `passfiles`, set the passwords of `<passfiles>/<service>/pgpass`.

    Files that exist keep their passwords. Raises DatabaseFault when `url` is not the owner's, DatabaseUnavailable, and
    RtServerError when a file cannot be read or written.
    """
    connection = await connect(url, name="rt-server roles", lock_timeout="10s")
    try:
        # All of it, and its entry in the log, or nothing; a password that is in its file by then is set the next time.
        with translated():
            async with connection.transaction():
                await connection.execute(_OWN_TRANSACTION.sub("", roles_sql()))
                if passfiles is not None:
                    for service in ROLES:
                        await _set_password(connection, f"rt_{service}", passfiles / service / "pgpass")
                passwords = "left as they are" if passfiles is None else "set"
                await note(connection, "roles_applied", {"passwords": passwords})
    finally:
        await connection.close(timeout=5)


async def _set_password(connection: Connection, user: str, passfile: Path) -> None:
    password = _kept_password(user, passfile)
    # Neither can be a parameter here; a verifier has no quote in it.
    await connection.execute(f"ALTER ROLE {user} PASSWORD '{scram_verifier(password)}'")


def _kept_password(user: str, passfile: Path) -> str:
    """Return the password in the file, or a new one that is in it now."""
    try:
        if passfile.exists():
            return passfile.read_text().strip().rpartition(":")[2]
        password = secrets.token_urlsafe(24)
        draft = passfile.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"*:*:*:{user}:{password}\n")
        draft.replace(passfile)
    except OSError as error:
        raise RtServerError(f"cannot keep a password in {passfile}: {error.strerror}") from error
    return password


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return what Postgres stores instead of a password of ASCII (RFC 5803)."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
