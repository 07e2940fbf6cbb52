"""The lock of a directory: one holder at a time, released with its holder however that ends.

It is a lock of the kernel on an open file. It belongs to every process that inherited the descriptor, so it
can also tell that the last of a family of processes has gone, without asking for process ids, which may
have been given to others since.
"""

import fcntl
import os
from pathlib import Path


class DirectoryLockedError(Exception):
    """Somebody else holds the lock; `pid` is who, as far as is known."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid

    def __str__(self) -> str:
        return f"already running, pid {self.pid}"


class DirectoryLock:
    """The lock in `path`, a file that need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """The open file that holds the lock, for children to inherit; -1 when not taken."""
        return self._descriptor

    @property
    def taken(self) -> bool:
        """Whether this process took it and has not let go."""
        return self._descriptor >= 0

    def take(self) -> None:
        """Take the lock for this process; DirectoryLockedError when it is held, OSError when not writable."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 20).decode().strip() or "unknown"
            os.close(descriptor)
            raise DirectoryLockedError(pid) from None
        self._descriptor = descriptor
        self.name_holder(os.getpid())

    def name_holder(self, pid: int) -> None:
        """Write down whom to name to those who come later."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{pid}\n".encode(), 0)

    def release(self) -> None:
        """Let go; it stays held while a process that inherited it runs. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
