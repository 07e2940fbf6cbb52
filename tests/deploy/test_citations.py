"""What code cites is there: a page, its section, a file of code; and so is what pages link to."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.deploy.pages import DOCS, REPOSITORY, sections
from tests.source import parsed

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
# A file of code, by as much of its path as says which one it is.
_FILE = re.compile(r"(?<![\w./*%-])(?P<file>[\w/-]+\.(?:py|sql|js|css))\b(?!\.?\w)")
_COMMENT = {
    ".py": re.compile(r"#.*$", re.MULTILINE),
    ".sql": re.compile(r"--.*$", re.MULTILINE),
    ".js": re.compile(r"(?<!:)//.*$|/\*.*?\*/", re.MULTILINE | re.DOTALL),
    ".css": re.compile(r"/\*.*?\*/", re.DOTALL),
}
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


@cache
def code() -> tuple[str, ...]:
    """Return the path of each file of code."""
    found = (path for root in _ROOTS for path in (REPOSITORY / root).rglob("*") if path.suffix in _COMMENT)
    return tuple(f"/{path.relative_to(REPOSITORY)}" for path in found)


def astray(comment: str, beside: Path) -> Iterator[str]:
    """Yield the files of code that a comment names, and that are neither beside it nor one of all."""
    for cited in _FILE.findall(comment):
        if not (beside / cited).is_file() and sum(path.endswith(f"/{cited}") for path in code()) != 1:
            yield cited


def comments(path: Path) -> str:
    """Return what a file of code says to people: its comments, and what it documents."""
    text = path.read_text()
    said = _COMMENT[path.suffix].findall(text)
    if path.suffix == ".py":
        nodes = (node for node in ast.walk(parsed(text)) if isinstance(node, _DOCUMENTED))
        said += [ast.get_docstring(node) or "" for node in nodes]
    return "\n".join(said)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_every_file_of_code_that_comments_name_is_there_and_is_one() -> None:
    assert len(code()) > 300
    wrong = [
        f"{path}: {each}"
        for path in code()
        for each in astray(comments(REPOSITORY / path[1:]), (REPOSITORY / path[1:]).parent)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "cited", ["(writer/store.py)", "(routines/nothing.sql)", "(app.py says why)", "x.js"]
)
def test_a_file_that_is_not_there_or_is_several_is_found(cited: str) -> None:
    assert len(list(astray(cited, REPOSITORY))) == 1


@pytest.mark.parametrize(
    "cited", ["(shared/log.py)", "(routines/drain.sql),", "see rows.js.", "it is self.sql_of"]
)
def test_a_file_that_is_there_is_not_complained_of(cited: str) -> None:
    assert not list(astray(cited, REPOSITORY))


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
