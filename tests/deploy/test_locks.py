"""What is installed is what was looked at: exact versions, and files by the hashes of all of a release."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Each lock, and what of pyproject.toml it is of.
LOCKS = {
    "constraints.txt": [*PROJECT["dependencies"], *EXTRAS["local"], *EXTRAS["dev"], *EXTRAS["image"]],
    "image.txt": [*PROJECT["dependencies"], *EXTRAS["image"]],
    "bench.txt": [*PROJECT["dependencies"], *EXTRAS["bench"]],
}
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def locked(name: str) -> dict[str, tuple[str, set[str]]]:
    """Return the requirement and the hashes of each package in a lock, by its normal name."""
    entries = (TOP / "deploy" / name).read_text().replace("\\\n", " ").splitlines()
    found = [(each.split("--hash", 1)[0].strip(), set(_HASH.findall(each))) for each in entries if each]
    return {normal(requirement.split("==")[0]): (requirement, hashes) for requirement, hashes in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_all_that_is_asked_for_in_one_version_and_with_hashes(name: str) -> None:
    found = locked(name)
    assert {normal(each) for each in LOCKS[name]} <= found.keys()
    for requirement, hashes in found.values():
        assert re.fullmatch(r"\S+==[^\s=<>]+( ; .+)?", requirement), requirement
        assert hashes, requirement


@pytest.mark.parametrize("name", ["image.txt", "bench.txt"])
def test_locks_agree_on_what_they_share(name: str) -> None:
    whole = locked("constraints.txt")
    for each, (requirement, hashes) in locked(name).items():
        if each in whole:
            version = requirement.split(" ; ")[0]  # for which Pythons it is asked depends on who asks
            assert (version, hashes) == (whole[each][0].split(" ; ")[0], whole[each][1])


@pytest.mark.parametrize("file", ["Makefile", "deploy/Dockerfile"])
def test_nothing_is_taken_from_a_registry_but_by_hash(file: str) -> None:
    steps = re.split(r"\n(?=\S)|\n\t@|&&", (TOP / file).read_text().replace("\\\n", " "))
    taking = [step for step in steps if re.search(r"(pip|\$\(PIP\)) (install|wheel)", step)]
    by_name = [step for step in taking if "--no-index" not in step and "--require-hashes" not in step]
    # Who brings the locks up to date takes the program that writes them.
    assert [step.split("install")[1].split()[0] for step in by_name] == (
        ["uv==0.13.8"] if file == "Makefile" else []
    )
    assert all("--no-deps" in step for step in taking if "--require-hashes" in step)


@pytest.mark.parametrize("workflow", sorted(TOP.glob(".github/workflows/*.yml")), ids=lambda file: file.stem)
def test_actions_are_named_by_commit_and_version(workflow: Path) -> None:
    lines = [line for line in workflow.read_text().splitlines() if "uses:" in line]
    assert lines
    assert not [line for line in lines if not _COMMIT.search(line)]


def test_every_python_that_we_promise_is_checked() -> None:
    check = yaml.safe_load((TOP / ".github" / "workflows" / "check.yml").read_text())
    assert check["jobs"]["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == ">=3.11"
