"""deploy/docs/security.md: where it leads to is there, and what it says of settings and roles is so."""

import re
from pathlib import Path

from api.http.access import OPEN_PATHS
from api.settings import API_TOKEN_LENGTH
from deploy.cli.roles import SERVICES
from tests.deploy.compose import COMPOSE_FILE
from tests.deploy.test_readme import README

DOCS = README.parent / "deploy" / "docs"
TEXT = (DOCS / "security.md").read_text()


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_page_and_heading_that_it_leads_to_is_there() -> None:
    for page in (DOCS / "security.md", DOCS.parent / "server" / "README.md", DOCS / "one-machine.md"):
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
            found = (page.parent / target).resolve() if target else page
            assert found.exists(), (page.name, target)
            assert not anchor or anchor in anchors(found), (page.name, target, anchor)


def test_every_setting_that_it_names_is_one() -> None:
    known = set(re.findall(r"^(\w+)=", COMPOSE_FILE.with_name(".env.example").read_text(), re.MULTILINE))
    known |= set(re.findall(r"\| `([A-Z_]+)` \|", README.read_text()))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=\w+)?`", TEXT)) - {"INVALID_TOKEN"}
    assert named <= known, named - known


def test_what_is_public_and_who_is_admitted_is_as_the_code_has_it() -> None:
    public = TEXT.partition("## What is public")[2].partition("## ")[0]
    assert set(re.findall(r"`GET (\S+)`", public)) | {"/metrics"} == OPEN_PATHS
    assert f"set, {API_TOKEN_LENGTH} characters or more" in TEXT
    for service in SERVICES:
        assert f"| `rt_{service}` |" in TEXT
