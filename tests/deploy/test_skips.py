"""A test that cannot run somewhere says what to do that it can, and the forge does it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.test_workflows import commands
from tests.programs import AS_ROOT

TOP = Path(__file__).parents[2]


def skips() -> Iterator[tuple[str, str]]:
    """Return each place where tests are skipped, and the reason as it is written."""
    for path in sorted((TOP / "tests").rglob("*.py")):
        text = path.read_text()
        if path == Path(__file__) or not re.search(r"skipif\(|\bskip\(", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".skipif", ".skip")):
                given = [each.value for each in node.keywords if each.arg == "reason"] or node.args
                yield f"{path.name}:{node.lineno}", ast.unparse(given[0])


def test_every_skip_says_what_to_do() -> None:
    found = dict(skips())
    assert len(found) >= 8
    silent = [
        place
        for place, reason in found.items()
        if not any(each in reason for each in ("`", "AS_ROOT"))
        # programs.py has its words in a name.
        and reason != "reason"
    ]
    assert silent == []


def test_what_only_root_can_run_is_run_on_the_forge_by_the_command_that_the_skip_names() -> None:
    (command,) = re.findall(r"`([^`]+)`", AS_ROOT)
    assert command in commands("check")
    target = command.removeprefix("make ")
    (recipe,) = re.findall(rf"^{target}:.*\n\t@(sudo .*)$", (TOP / "Makefile").read_text(), re.MULTILINE)
    assert "grep -rl AS_ROOT tests/*/test_*.py" in recipe
    marked = {path.name for path in (TOP / "tests").glob("*/test_*.py") if "AS_ROOT" in path.read_text()}
    assert marked - {Path(__file__).name} == {"test_containers.py", "test_disk_full.py", "test_postgres.py"}
