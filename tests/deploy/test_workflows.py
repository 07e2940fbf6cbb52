"""What runs on the forge is what runs here."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
WORKFLOWS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted(FOLDER.glob("*.yml"))}


def commands(workflow: str) -> list[str]:
    jobs: dict[str, dict[str, Any]] = WORKFLOWS[workflow]["jobs"]
    return [step["run"].strip() for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_is_valid_by_the_forge_s_schema(workflow: str) -> None:
    vendored = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-workflows.json"
    # YAML takes the word `on` for true.
    found = {("on" if key is True else key): value for key, value in WORKFLOWS[workflow].items()}
    jsonschema.validate(found, json.loads(vendored.read_text()))


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_runs_the_one_check_that_everybody_runs(workflow: str) -> None:
    assert "make check" in commands(workflow)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_job_ends_in_bounded_time(workflow: str) -> None:
    assert all(job["timeout-minutes"] <= 90 for job in WORKFLOWS[workflow]["jobs"].values())


def test_brings_the_production_file_up_scaled_and_asks_the_doctor() -> None:
    run = "\n".join(commands("check"))
    assert "up -d --scale gateway=3 --scale fanout=4" in run
    assert "rt-server doctor" in run


def test_every_action_is_named_by_its_commit() -> None:
    """A tag can be moved to other code by whoever owns it."""
    used = [
        use for file in FOLDER.parent.rglob("*.yml") for use in re.findall(r"uses:\s*(\S+)", file.read_text())
    ]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", use)] == []
