"""deploy/docs/one-machine.md: an upgrade stops old processes only when there are as many healthy ones as are wanted."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.pages import DOCS, fences

(UPGRADE,) = [
    each.text for each in fences((DOCS / "one-machine.md").read_text(), "sh") if "docker stop" in each.text
]

# Stands in for docker: one old process of each role, healthy; $NEW is the health of the new one of a role.
_DOCKER = """#!/bin/bash
echo "$*" >> "$LOG"
case "$*" in
    "compose ps -q "*) echo "old-$4" ;;
    "compose ps gateway --format {{.Health}}") printf 'healthy\\n%s\\n' "$NEW" ;;
    "compose ps "*" --format {{.Health}}") printf 'healthy\\nhealthy\\n' ;;
esac
"""


class Done(NamedTuple):
    """What an upgrade did: its exit code, what it said, and which processes it stopped."""

    code: int
    said: str
    stopped: list[str]


def upgrade(directory: Path, new: str) -> Done:
    for name, text in (("docker", _DOCKER), ("sleep", "#!/bin/bash\n")):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    log = directory / "log"
    environment = {"PATH": f"{directory}:{os.defpath}", "LOG": str(log), "NEW": new}
    done = subprocess.run(
        ["bash", "-c", UPGRADE], env=environment, capture_output=True, text=True, check=False
    )
    stopped = [
        line.removeprefix("stop ") for line in log.read_text().splitlines() if line.startswith("stop ")
    ]
    return Done(done.returncode, done.stderr, stopped)


def test_each_role_s_old_process_is_stopped_when_the_new_one_is_healthy(tmp_path: Path) -> None:
    done = upgrade(tmp_path, "healthy")
    assert (done.code, done.said) == (0, "")
    assert done.stopped == ["old-gateway", "old-fanout", "old-writer", "old-api"]


@pytest.mark.parametrize("new", ["", "unhealthy", "starting"])
def test_a_release_that_does_not_come_up_costs_no_process_that_does(tmp_path: Path, new: str) -> None:
    """One that crashes at its start has no health at all; `unhealthy` has `healthy` in it."""
    done = upgrade(tmp_path, new)
    assert done.code != 0
    assert "gateway: 1 of 2 are healthy" in done.said
    assert done.stopped == []
