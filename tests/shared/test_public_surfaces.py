"""Tests use what is public: what a test reaches into cannot be changed without it, though what it proves has not."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.source import parsed

TESTS = Path(__file__).parents[1]
# Of named tuples, whose methods cannot be called otherwise, and of os, whose name for it this is.
PUBLIC = {"_asdict", "_fields", "_make", "_replace", "_exit"}
OWN = {"self", "cls"}
PATCHES = {"setattr", "setitem", "delattr", "getattr", "hasattr", "patch"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def reached_into(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the lines that name what is another's own, and what they name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not is_own(node.value):
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, each.name) for each in node.names if is_private(each.name))
        elif isinstance(node, ast.Call) and called(node) in PATCHES:
            yield from ((node.lineno, name) for name in texts(node) if is_private(name.rpartition(".")[2]))


def is_own(value: ast.expr) -> bool:
    """Whether it is the object's own, or its base's."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in OWN


def texts(node: ast.Call) -> Iterator[str]:
    """Yield the texts that say what is patched: the path of a name, or the name."""
    for given in node.args[:2]:
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield given.value


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_sees_who_reaches_into_what_is_another_s() -> None:
    seen = """
from gateway.session import _hidden
monkeypatch.setattr(module, "_NAME", 1)
monkeypatch.setattr("api.store._NAME", 1)
inside.gateway._staging
super()._note()
self._mine
row._replace(a=1)
self.other._theirs
"""
    found = [name for _, name in reached_into(parsed(seen))]
    assert sorted(found) == ["_NAME", "_hidden", "_staging", "_theirs", "api.store._NAME"]


def test_no_test_reaches_into_what_is_another_s() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, name in reached_into(parsed(path.read_text()))
    ]
    assert found == []
