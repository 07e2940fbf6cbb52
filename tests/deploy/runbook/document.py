"""The runbook's text: its blocks, and what it says of each symptom."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["BLOCKS", "REPOSITORY", "RUNBOOK", "SYMPTOMS", "Block", "blocks"]

REPOSITORY = Path(__file__).parents[3]
RUNBOOK = REPOSITORY / "deploy" / "docs" / "runbook.md"

_BLOCK = re.compile(r"^```sh *(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block. title: its first line, a comment. kind: "" is run, `foreground` stays in a terminal of its own,
    `compose` needs containers.
    """

    title: str
    kind: str
    text: str


def blocks(markdown: str) -> list[Block]:
    """Return all `sh` blocks in the order of the document."""
    found = []
    for kind, text in _BLOCK.findall(markdown):
        first, _, _ = text.partition("\n")
        assert first.startswith("# "), f"a block must begin with a comment: {first}"
        found.append(Block(first.removeprefix("# "), kind, text))
    return found


def _symptoms(markdown: str) -> dict[str, dict[str, str]]:
    """Return the troubleshooting sections: of each the lines `- Name: ...` by name."""
    _, _, text = markdown.partition("## Find what you see")
    sections = [section.partition("\n") for section in text.split("\n### ")[1:]]
    return {title: dict(re.findall(r"^- (\w+): (.*)$", body, re.MULTILINE)) for title, _, body in sections}


BLOCKS = {block.title: block for block in blocks(RUNBOOK.read_text())}
SYMPTOMS = _symptoms(RUNBOOK.read_text())
