"""What pages have people type asks this machine directly: a proxy that the environment names knows nothing of it."""

import re
from pathlib import Path

import pytest

from tests.deploy.pages import DOCS, REPOSITORY, fences

# In the pages on the HTTP API `$RT_URL` is whatever server one has, behind whatever there is between.
PAGES = [
    page
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "deploy").rglob("*.md"))]
    if page != DOCS / "http-api.md"
]
LOCAL = re.compile(r"127\.0\.0\.1|localhost|\$RT_URL|http://\$\(")


def commands(page: Path) -> list[str]:
    """Return the lines that are typed, each with what it goes on with; inline ones too."""
    text = page.read_text()
    typed = "\n".join(
        each.text for each in fences(re.sub(r"^```sh \w+$", "```sh", text, flags=re.MULTILINE), "sh")
    )
    return [*typed.replace("\\\n", " ").splitlines(), *re.findall(r"`(curl [^`\n]+)`", text)]


def of_this_machine() -> list[str]:
    return [
        line
        for page in PAGES
        for line in commands(page)
        if re.search(r"\bcurl\b", line) and LOCAL.search(line)
    ]


def test_there_are_such_requests() -> None:
    assert len(of_this_machine()) >= 5


@pytest.mark.parametrize("line", of_this_machine())
def test_curl_asks_no_proxy_for_this_machine(line: str) -> None:
    assert "curl --noproxy '*' " in line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_asks_by_what_takes_a_proxy_from_the_environment(page: Path) -> None:
    assert "urllib.request" not in page.read_text()
