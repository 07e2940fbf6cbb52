"""The dashboard's files: served whole, kept by browsers and asked for again, and safe in what they may do."""

import gzip
import inspect
import re
from importlib.resources import files
from pathlib import Path

from api.dashboard.routes import POLICY, without_comments
from api.http import docs as rendering
from tests.api.conftest import Client

STATIC = Path(str(files("api") / "dashboard" / "static"))
FILES = sorted(STATIC.iterdir())


async def test_the_page_and_all_that_it_loads_are_served(client: Client) -> None:
    for path, kind in {
        "/": "text/html",
        "/static/main.js": "text/javascript",
        "/static/tokens.css": "text/css",
        "/static/icon-act.svg": "image/svg+xml",
    }.items():
        async with client.get(path) as answer:
            assert (answer.status, answer.content_type, answer.charset) == (200, kind, "utf-8")
            assert await answer.read()
    for each in FILES:
        async with client.get(f"/static/{each.name}") as answer:
            served, lines = (await answer.text()).split("\n"), each.read_text().split("\n")
        left_out = [line for line, kept in zip(lines, served, strict=True) if line != kept]
        # Comments: all, and nothing else.
        assert all(line.lstrip().startswith(("//", "/*", "*")) for line in left_out), each.name
        assert not any(line.lstrip().startswith(("//", "/*")) for line in served), each.name


def test_only_whole_lines_are_taken_for_comments() -> None:
    code = (
        b'const a = "/* no */"; // stays\n  // goes\nb(`https://`)\n/** goes\n * too */\nc = 1 /* stays */\n'
    )
    bare = b'const a = "/* no */"; // stays\n\nb(`https://`)\n\n\nc = 1 /* stays */\n'
    assert without_comments(code) == bare


async def test_a_browser_asks_again_and_is_sent_only_what_has_changed(client: Client) -> None:
    async with client.get("/") as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        async with client.get("/", headers={"If-None-Match": known}) as answer:
            assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
            assert answer.headers["Content-Security-Policy"] == POLICY
    async with client.get("/", headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


async def test_a_page_loads_from_here_only_and_makes_no_markup_of_text(client: Client) -> None:
    async with client.get("/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert "unsafe" not in policy


async def test_nothing_but_the_pages_files_is_served(client: Client) -> None:
    for path in ("/static/", "/static/..%2fapp.py", "/static/nothing.js", "/index.html"):
        async with client.get(path) as answer:
            assert answer.status == 404, path


# What turns text into markup or code, and what is loaded from elsewhere.
_FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b|new Function"
    r"|setTimeout\(\s*[\"'`]|\sstyle=|\son\w+=|@import|url\(|https?://(?!www\.w3\.org/2000/svg)"
)


def test_no_file_makes_markup_of_text_or_names_another_place() -> None:
    for each in FILES:
        assert not (found := _FORBIDDEN.search(each.read_text())), (each.name, found)


def test_everything_is_asked_for_beside_the_page_so_that_it_works_below_any_path() -> None:
    for text in (*(each.read_text() for each in FILES), inspect.getsource(rendering)):
        assert not (found := re.search(r"""["'`(]/(?:api|static|docs)\b""", text)), found


def test_every_import_names_a_file_and_every_file_is_used() -> None:
    named = {"index.html", "main.js", *(f"icon-{level}.svg" for level in ("good", "watch", "act", "lost"))}
    for each in FILES:
        named |= {
            Path(found).name
            for found in re.findall(
                r'(?:from "|import\("|href="|src=")([./\w-]+\.(?:js|css|svg))"', each.read_text()
            )
        }
    assert named == {each.name for each in FILES}


async def test_the_page_names_every_module_those_of_the_verdict_first_and_the_others_for_later(
    client: Client,
) -> None:
    async with client.get("/") as answer:
        head, _, body = (await answer.text()).partition("</head>")
    named = [re.findall(r'rel="modulepreload" href="static/([\w-]+\.js)"', each) for each in (head, body)]
    # What main.js needs before it can run, and what it asks for later, by the files as they lie.
    first = imported({"main.js"}, r'from "\./([\w-]+\.js)"')
    all_of_them = imported({"main.js"}, r'"\./([\w-]+\.js)"')
    assert sorted(named[0]) == sorted(first - {"main.js"})
    assert sorted(named[1]) == sorted(all_of_them - first)
    assert all_of_them == {each.name for each in FILES if each.suffix == ".js"}
    assert "<!-- modules" not in head + body


def imported(names: set[str], form: str) -> set[str]:
    """Return files and all that they import, directly or not."""
    found = {
        name
        for each in names
        for groups in re.finditer(form, (STATIC / each).read_text())
        for name in groups.groups()
        if name
    }
    return names if found <= names else imported(names | found, form)


def test_the_whole_page_is_under_a_hundred_kilobytes_on_its_way() -> None:
    """The reverse proxy compresses it, which a phone in a field needs; what the verdict takes comes first."""
    assert sum(len(gzip.compress(without_comments(each.read_bytes()))) for each in FILES) < 100_000
