"""What code cites of a page is there: the page, its section; and so is what pages link to."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.pages import DOCS, REPOSITORY, sections

_ROOTS = ("gateway", "writer", "fanout", "api", "shared", "deploy", "tests", "migrations", ".github")
_CODE = {".py", ".sql", ".js", ".css", ".html", ".yml", ".yaml", ".toml"}
# Where a line of a comment ends and the next begins.
_FOLDED = re.compile(r"\s*\n\s*(?:#|--|//|\*)?\s*")
_CITED = re.compile(
    r"(?P<page>[\w./-]+\.md)\b"
    r"(?:, sections? (?P<sections>\d+(?:\.\d+)?(?:(?:, | and )\d+(?:\.\d+)?)*)"
    r"|, promise (?P<promise>\d+)"
    r"|, (?P<heading>[A-Z]\w+|\"))?"
)
# Where code says "protocol.md", in words for people, it means one of these.
_PLACES = (REPOSITORY, DOCS)
PAGES = (*REPOSITORY.glob("*.md"), *(REPOSITORY / "deploy").rglob("*.md"))


def complaints(text: str, beside: Path = REPOSITORY) -> Iterator[str]:
    """Yield what is cited in a text and not there."""
    for cited in _CITED.finditer(_FOLDED.sub(" ", text)):
        places = (each / cited["page"] for each in (*_PLACES, beside))
        page = next((each for each in places if each.is_file()), None)
        if page is None or not _has(page.read_text(), cited):
            yield cited[0]


def _has(page: str, cited: re.Match[str]) -> bool:
    if cited["sections"]:
        return set(re.findall(r"\d+(?:\.\d+)?", cited["sections"])) <= sections(page).keys()
    if cited["promise"]:
        return f"\n{cited['promise']}. " in page.partition("\n## Promises")[2].partition("\n## ")[0]
    if cited["heading"]:
        return re.search(rf"^#+ {cited['heading']}", page, re.MULTILINE) is not None
    return True


def test_everything_that_code_cites_is_there() -> None:
    wrong = []
    files = [path for root in _ROOTS for path in (REPOSITORY / root).rglob("*") if path.suffix in _CODE]
    assert len(files) > 300
    for path in files:
        if path != Path(__file__):
            wrong += [
                f"{path.relative_to(REPOSITORY)}: {each}"
                for each in complaints(path.read_text(), path.parent)
            ]
    assert not wrong


@pytest.mark.parametrize(
    "cited",
    [
        "as nowhere.md says",
        "(protocol.md, section 99)",
        "(protocol.md, sections 1 and 99)",
        "(protocol.md,\n# section 4.99)",
        "(ARCHITECTURE.md, Nonsense)",
        "(ARCHITECTURE.md, promise 99)",
        '(http-api.md, "Rules for every route")',
    ],
)
def test_what_is_not_there_is_found(cited: str) -> None:
    assert len(list(complaints(cited))) == 1


@pytest.mark.parametrize(
    "cited",
    [
        "protocol.md is one",
        "(protocol.md, section 4.3).",
        "# protocol.md,\n    # sections 1 and 2",
        "(ARCHITECTURE.md, Bounds)",
        "ARCHITECTURE.md, promise 3",
        "deploy/docs/runbook.md, and so on",
    ],
)
def test_what_is_there_is_not_complained_of(cited: str) -> None:
    assert not list(complaints(cited))


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", ["protocol.md", "http-api.md"])
def test_both_pages_for_who_builds_are_to_be_found(page: str) -> None:
    assert f"(deploy/docs/{page})" in (REPOSITORY / "README.md").read_text()
    assert f"({page})" in (DOCS / "README.md").read_text()
