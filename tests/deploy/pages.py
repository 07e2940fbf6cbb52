"""Pages of the repository as tests read them: numbered sections, tables, fenced blocks."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "HTTP_API", "PROTOCOL", "REPOSITORY", "Fence", "fences", "sections", "table"]

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "deploy" / "docs"
PROTOCOL = DOCS / "protocol.md"
HTTP_API = DOCS / "http-api.md"

_HEADING = re.compile(r"^#{2,3} (\d+(?:\.\d+)?)\.? (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A fenced block: what language it says, and its text."""

    language: str
    text: str


def sections(page: str) -> dict[str, tuple[str, str]]:
    """Return the numbered sections, as {"3.2": (title, text up to the next number)}."""
    parts = _HEADING.split(page)
    return {
        number: (title, text)
        for number, title, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


def fences(text: str, language: str | None = None) -> list[Fence]:
    """Return the fenced blocks, or those of a language."""
    found = [Fence(*each) for each in _FENCE.findall(text)]
    return [each for each in found if language is None or each.language == language]


def table(text: str, *head: str) -> list[list[str]]:
    """Return the rows of the table that begins with these heads, each a list of cells."""
    lines = iter(text.splitlines())
    for line in lines:
        if _cells(line)[: len(head)] == list(head):
            next(lines)
            break
    else:
        raise AssertionError(f"there is no table of {head}")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    return rows


def _cells(line: str) -> list[str]:
    return [each.strip() for each in line.strip().strip("|").split("|")]
