"""What a command did, told to operators as an api process tells it: an entry of the log, with who asked."""

import getpass
import os
import socket
from collections.abc import Mapping
from uuid import UUID

from shared.db.channels import ACTIVITY
from shared.db.connections import Pool, Statements
from shared.db.errors import translated
from shared.runtime.activity import append, entry

__all__ = ["note", "tell"]

# The command is no process of the cluster.
_NOBODY = UUID(int=0)


async def note(database: Statements, event: str, fields: Mapping[str, object]) -> None:
    """Write an entry; RtServerError when that cannot be."""
    await append(database, _NOBODY, [entry(event, "info", {**fields, "by": _by(), "address": ""})])


async def tell(pool: Pool) -> None:
    """Say that there is an entry, once it is committed."""
    with translated():
        await pool.execute("SELECT pg_notify($1, '')", ACTIVITY)


def _by() -> str:
    """Return who runs the command, and where. A note, no proof; a uid without a name is its number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"command line ({user}@{socket.gethostname()})"
