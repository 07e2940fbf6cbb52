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


async def test_the_page_names_every_module_those_of_the_verdict_first_then_those_of_the_first_page(
    client: Client,
) -> None:
    async with client.get("/") as answer:
        page = await answer.text()
    form = re.compile(r'rel="modulepreload" href="static/([\w-]+\.js)"')
    named = [form.findall(each) for each in re.split("</head>|</template>", page)]
    # What main.js needs before it can run, what the first page does, and what is asked for later, as the files lie.
    first = imported({"main.js"}, r'from "\./([\w-]+\.js)"')
    later = imported(first | {"pages.js", "page-first.js"}, r'from "\./([\w-]+\.js)"')
    all_of_them = imported({"main.js"}, r'"\./([\w-]+\.js)"')
    assert sorted(named[0]) == sorted(first - {"main.js"})
    assert sorted(named[1]) == sorted(later - first)
    assert sorted(named[2]) == sorted(all_of_them - later)
    assert (len(named), named[3]) == (4, [])
    assert all_of_them == {each.name for each in FILES if each.suffix == ".js"}
    assert "<!-- modules" not in page


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


async def test_what_the_first_page_loads_is_under_a_hundred_kilobytes_on_its_way(client: Client) -> None:
    """The reverse proxy compresses it, which a phone in a field needs; what the verdict takes comes first. By what the
    page asks for until it is alive: all that it names but what stands in its last template, which waits for that.
    """
    async with client.get("/") as answer:
        page = await answer.text()
    until_alive, _, rest = page.partition('<template id="others">')
    names = re.findall(r'(?:href|src)="(static/[\w.-]+)"', until_alive)
    # The one icon that it names stands for the four, of which it shows another with each verdict.
    names += [f"static/{each.name}" for each in FILES if each.suffix == ".svg"]
    assert {"static/main.js", "static/pages.js", "static/page-first.js", "static/parts.css"} < set(names)
    assert "static/page-race.js" not in names
    assert "static/page-race.js" in rest
    assert (
        len(gzip.compress(page.encode())) + sum([await sent(client, name) for name in set(names)]) < 100_000
    )


async def sent(client: Client, name: str) -> int:
    """Return what a file takes on its way."""
    async with client.get(f"/{name}") as answer:
        return len(gzip.compress(await answer.read()))


def test_all_pages_together_are_under_two_hundred_kilobytes_on_their_way() -> None:
    """They come once the first page is alive, and a phone has them for the day."""
    assert sum(len(gzip.compress(without_comments(each.read_bytes()))) for each in FILES) < 200_000
