"""stack.json: what runs where, for programs to read; those of ours find a running stack by it."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deploy.local.slot import Member


class RunningStack(NamedTuple):
    """Where a stack that runs has its database, password included, and its reverse proxy."""

    database_url: str
    reverse_proxy: str


def default_data_dir() -> Path:
    """Return where the data of a stack lies if nobody says otherwise: the platform's directory for such."""
    import platformdirs

    return platformdirs.user_data_path("rt-server")


def find_stack(data_dir: Path | None) -> RunningStack | None:
    """Return the stack that runs over a data directory, or over the default one; None where there is none."""
    with suppress(ImportError, OSError, ValueError, KeyError):
        described = json.loads(((data_dir or default_data_dir()) / "stack.json").read_text())
        return RunningStack(described["database_url"], described["reverse_proxy"])
    return None


def write_description(
    path: Path, *, database_url: str, reverse_proxy: str, members: Iterable[Member]
) -> None:
    """Write the file anew, whole at every moment, for its owner only: the database's URL holds a password."""
    processes = [
        {"role": member.role, "index": member.index, "pid": member.pid, "address": member.address}
        for member in members
        if member.pid is not None
    ]
    description = {"database_url": database_url, "reverse_proxy": reverse_proxy, "processes": processes}
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(description, file, indent=2)
    draft.replace(path)
