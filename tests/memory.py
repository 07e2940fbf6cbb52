"""A process in as much memory as compose gives its container, counted by the kernel as there: in pages that it has.

An rlimit counts addresses, of which libraries reserve a gigabyte for what they never touch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.report import resident_bytes
from tests.services import Process

__all__ = ["confined"]

# Where groups are made, and the file that bounds one: of the unified hierarchy, or of the one before it.
_HIERARCHIES = {
    Path("/sys/fs/cgroup"): "memory.max",
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
}


@contextmanager
def confined(process: Process, most_bytes: int) -> Iterator[None]:
    """Have the kernel end a process that takes more than that; where no group may be made, only who asks finds out.

    What it has already is counted elsewhere, and taken off. To be left when the process has ended or does no more.
    """
    group = _group(f"rt-{os.getpid()}-{process.pid}", most_bytes - resident_bytes(process.pid))
    if group is None:
        yield
        return
    (group / "cgroup.procs").write_text(str(process.pid))
    try:
        yield
    finally:
        with suppress(OSError):  # it may have ended
            (group.parent / "cgroup.procs").write_text(str(process.pid))
        group.rmdir()


def _group(name: str, most_bytes: int) -> Path | None:
    """Make a group with a bound; None where that is not ours to do."""
    for hierarchy, bound in _HIERARCHIES.items():
        group = hierarchy / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / bound).exists():  # else no hierarchy is mounted here, or it counts no memory
            (group / bound).write_text(str(most_bytes))
            return group
        group.rmdir()
    return None
