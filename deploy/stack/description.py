"""stack.json: what runs where, for programs to read."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from deploy.stack.slot import Member


def write_description(path: Path, *, database_url: str, front_door: str, members: Iterable[Member]) -> None:
    """Write the file anew, whole at every moment, for its owner only: the database's URL holds a password."""
    processes = [
        {"role": member.role, "index": member.index, "pid": member.pid, "address": member.address}
        for member in members
        if member.pid is not None
    ]
    description = {"database_url": database_url, "front_door": front_door, "processes": processes}
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(description, file, indent=2)
    draft.replace(path)
