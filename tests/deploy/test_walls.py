"""Where SQL stands, whatever its module is called: whoever needs another's rows asks that one, and never reads them."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from shared.roles import ROLES
from tests.source import parsed

REPOSITORY = Path(__file__).parents[2]
_STATEMENT = re.compile(
    r"\s*(SELECT|WITH|INSERT INTO|UPDATE|DELETE FROM|TRUNCATE|LOCK TABLE|COPY|FROM)\b.*"
    r"(\bFROM\b|\bINTO\b|\bSET\b|\bTABLE\b|\bWHERE\b|\()",
    re.DOTALL,
)
# Beside a subject's `store`: what has a subject of its own within it, or is its own signal. Everything else that reads
# or writes rows is called `store`.
BESIDE_STORE = {
    "api.alerts.rules",
    "api.alerts.samples",
    "api.alerts.states",
    "api.alerts.stream_facts",
    "api.clocks.corrected",
    "api.crossings.cut",
    "api.events.conflicts",
    "api.events.filter",
    "api.events.views",
    "api.live.races",
    "api.passings.waiting",
    "api.races.names",
    "api.search.others",
    "api.streams.closed",
    "api.streams.epoch_names",
    "api.streams.names",
}
# Who reads another subject's rows, by that one's statements. The page shows all subjects.
READERS: Mapping[str, set[str]] = {
    "api.alerts.store": {"api.live"},
    "api.clocks.corrected": {"api.events", "api.exports"},
    "api.crossings.cut": {"api.flow", "api.mats", "api.search"},
    "api.crossings.store.passings": {"api.exports"},
    "api.devices.store": {"api.live"},
    "api.events.filter": {"api.exports"},
    "api.events.store": {"api.live"},
    "api.logs.store": {"api.live"},
    "api.mats.store.kept": {"api.alerts", "api.flow", "api.races"},
    "api.passings.waiting": {"api.crossings", "api.exports", "api.flow", "api.search"},
    "api.races.names": {"api.announcer", "api.crossings", "api.events"},
    "api.readers.store": {"api.live"},
    "api.storage.store": {"api.alerts", "api.live"},
    "api.streams.closed": {"api.alerts"},
    "api.streams.epoch_names": {"api.races"},
    "api.streams.names": {"api.events", "api.exports"},
    "api.streams.store": {"api.live"},
    "api.ups.store": {"api.live"},
}


def modules(service: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((REPOSITORY / service).rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        yield name, parsed(path.read_text())


def holds_sql(tree: ast.Module) -> bool:
    """Whether any text of it is a statement, or the beginning of one; what is documented is none."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return any(id(node) not in documented and _STATEMENT.match(text(node)) for node in ast.walk(tree))


def text(node: ast.AST) -> str:
    """Return a text as it stands in the code, whatever is put into it; of anything else nothing."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) or "?" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def subject(module: str) -> str:
    """Return what a module of the api is of: api.streams, of api.streams.store."""
    return ".".join(module.split(".")[:2])


def is_store(module: str) -> bool:
    return "store" in module.split(".")


def test_sees_statements_and_not_words() -> None:
    for each in ("SELECT 1 FROM streams", "\nWITH a AS (SELECT) SELECT", "UPDATE streams SET x = 1"):
        assert holds_sql(parsed(f"X = {each!r}"))
    for each in ("select a stream", "Update the page", "WITH"):
        assert not holds_sql(parsed(f"X = {each!r}"))
    assert not holds_sql(parsed('def f():\n    """SELECT 1 FROM streams"""'))
    assert holds_sql(parsed('X = f"SELECT {y} FROM streams"'))


@pytest.mark.parametrize("service", ROLES)
def test_sql_stands_in_stores_and_what_is_beside_them_is_known(service: str) -> None:
    found = {name for name, tree in modules(service) if holds_sql(tree) and not is_store(name)}
    within = {name for name in found if any(f"{name}.".startswith(f"{each}.") for each in BESIDE_STORE)}
    assert found - within == set()
    if service == "api":
        assert {
            each for each in BESIDE_STORE if any(f"{name}.".startswith(f"{each}.") for name in within)
        } == (BESIDE_STORE)


def test_every_module_is_read_in_one_go() -> None:
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for folder in (*ROLES, "shared", "deploy")
        for path in (REPOSITORY / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 350
    }
    assert long == {}


def test_no_subject_reads_another_s_rows_but_those_that_are_known_to() -> None:
    trees = dict(modules("api"))
    with_sql = {name for name, tree in trees.items() if holds_sql(tree)}
    readers: dict[str, set[str]] = {}
    for name, tree in trees.items():
        for each in with_sql & set(imported(tree)):
            if subject(each) != subject(name):
                readers.setdefault(each, set()).add(subject(name))
    assert readers == READERS


def test_the_linter_s_contracts_say_the_same() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    protected = {
        module: set(each["allowed_importers"]) - {subject(module), "tests"}
        for each in contracts
        if each["type"] == "protected"
        for module in each["protected_modules"]
    }
    assert {module: readers for module, readers in protected.items() if readers} == READERS
    rules = {"api.alerts.rules"}  # not for another subject's eyes: the floors of alerts say who finds them
    assert BESIDE_STORE - rules <= protected.keys()
