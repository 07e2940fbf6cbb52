"""Programs that tests need and no wheel brings: the system's own, or what its packages hold, unpacked into `.venv`
and not installed. `make test` fetches them once (`make programs` again), without root; whoever has no apt-get has
what the system has. What is still missing skips its tests, and the skip says what to do.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = ["AS_ROOT", "find", "needs"]

# What to do about a test that needs rights which only root has.
AS_ROOT = "`make test-as-root` runs it"

FOLDER = Path(sys.prefix) / "programs"
_UNPACKED = FOLDER / "unpacked"
# Whoever is offline finds out within seconds.
_PATIENCE = (
    "-o",
    "Acquire::Retries=0",
    "-o",
    "Acquire::http::Timeout=10",
    "-o",
    "Acquire::https::Timeout=10",
)
_WITHIN_S = 300


class _Program(NamedTuple):
    """Where a program lies below a root, and which packages of Debian's and Ubuntu's releases bring it."""

    place: str
    package: str


_PROGRAMS = {
    "nginx": _Program("usr/sbin/nginx", "nginx"),
    "promtool": _Program("usr/bin/promtool", "prometheus"),
    "kubectl": _Program("usr/bin/kubectl", "kubernetes-client"),
    # An older Postgres than ours.
    "postgres": _Program("usr/lib/postgresql/1[567]/bin/postgres", "postgresql-1[567]"),
}


def find(name: str) -> list[str]:
    """Return how a program is called, its first words; nothing where there is none."""
    place = _PROGRAMS[name].place
    # Debian keeps its Postgres off the path, by version.
    on_path = None if name == "postgres" else shutil.which(name)
    if system := [on_path] if on_path else sorted(map(str, Path("/").glob(place))):
        return system[-1:]
    if not (unpacked := sorted(map(str, _UNPACKED.glob(place)))):
        return []
    # Beside it lie the libraries that the system does not have.
    libraries = ":".join(map(str, _UNPACKED.glob("usr/lib/*-linux-*")))
    return ["env", f"LD_LIBRARY_PATH={libraries}", unpacked[-1]]


def needs(name: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs a program."""
    program = _PROGRAMS[name]
    reason = (
        f"there is no {name} here{', or none before 18' if name == 'postgres' else ''}: `make programs` fetches it "
        f"where there is apt-get, "
        f"or install it (Debian: {program.package})"
    )
    return pytest.mark.skipif(not find(name), reason=reason)


def fetch(names: Sequence[str]) -> None:
    """Unpack the packages of these programs, and of the libraries that the system lacks for them."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
    _apt("apt-get", "--quiet=2", "update")
    known = _apt("apt-cache", "pkgnames").split()
    for name in names:
        if packages := sorted(each for each in known if re.fullmatch(_PROGRAMS[name].package, each)):
            wanted = ("install", "--download-only", "--assume-yes", "--no-install-recommends", packages[-1])
            _apt("apt-get", "--quiet=2", *wanted)
    # Not the scripts of pages that nobody opens here, nor Prometheus itself: three hundred megabytes.
    for package in sorted((FOLDER / "cache" / "archives").glob("*.deb")):
        if not package.name.startswith("libjs-"):
            subprocess.run(["dpkg-deb", "--extract", package, _UNPACKED], check=True)
    kept = {each for program in _PROGRAMS.values() for each in _UNPACKED.glob(program.place)}
    for each in {*_UNPACKED.glob("usr/bin/*"), *_UNPACKED.glob("usr/sbin/*")} - kept:
        each.unlink()
    for folder in ("lists", "cache"):
        shutil.rmtree(FOLDER / folder)


def _apt(program: str, *arguments: str) -> str:
    """Run apt with lists and a cache of our own, so that it needs no rights and nothing of the system is changed."""
    own = ("-o", f"Dir::State::Lists={FOLDER / 'lists'}", "-o", f"Dir::Cache={FOLDER / 'cache'}")
    free = ("-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root")
    argv = [program, *own, *free, *_PATIENCE, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_WITHIN_S).stdout


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> None:
    """Fetch what is missing, once; say what could not be had."""
    FOLDER.mkdir(exist_ok=True)
    missing = [name for name in _PROGRAMS if not find(name)]
    if missing and shutil.which("apt-get"):
        _say(f"fetching what tests need besides: {', '.join(missing)}")
        try:
            fetch(missing)
        except (subprocess.SubprocessError, OSError) as error:
            _say(f"that failed: {getattr(error, 'stderr', None) or error}")
    if missing := [name for name in _PROGRAMS if not find(name)]:
        _say(
            f"there is no {' and no '.join(missing)}: the tests that need them are skipped, and say what to do"
        )
    (FOLDER / "ready").touch()


if __name__ == "__main__":
    main()
