"""deploy/docs/poolers.md: a PgBouncer with its list takes each of our connections."""

import ast
import re
from collections.abc import Iterator

from shared.db.connections import DURABLE, PINS, SERVER_SETTINGS, STEADY_PLANS
from shared.db.facts import Facts
from tests.deploy.pages import DOCS, REPOSITORY

# What PgBouncer keeps for each client by itself, so that it takes and gives them on (its `track_extra_parameters`).
TRACKED = {"application_name", "client_encoding", "datestyle", "standard_conforming_strings", "timezone"}
# Of `connect`, `create_pool` and `Link`: what is no setting.
OPENERS, ARGUMENTS = {"connect", "create_pool", "Link"}, {"name", "size"}

PAGE = (DOCS / "poolers.md").read_text()

TREES = [
    ast.parse(path.read_text())
    for folder in ("gateway", "writer", "fanout", "api", "shared", "deploy")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
]
# By name, which several modules may have.
NAMED: dict[str, list[ast.expr]] = {}
for _name, _value in [
    (target.id, node.value)
    for tree in TREES
    for node in tree.body
    if isinstance(node, ast.Assign)
    for target in node.targets
    if isinstance(target, ast.Name)
]:
    NAMED.setdefault(_name, []).append(_value)


def keys(given: ast.expr | None) -> Iterator[str]:
    """Yield the names in a dict that is written out, or that has a name and is written out there."""
    if isinstance(given, ast.Name):
        for named in NAMED.get(given.id, []):
            yield from keys(named)
    elif isinstance(given, ast.Dict):
        for key, value in zip(given.keys, given.values, strict=True):
            if key is None:
                yield from keys(value)
            elif isinstance(key, ast.Constant):
                yield str(key.value)


def settings_of_calls() -> Iterator[str]:
    """Yield what calls tell connections besides."""
    for call in [node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Call)]:
        opens = isinstance(call.func, ast.Name) and call.func.id in OPENERS
        for given in call.keywords:
            if given.arg == "pool_settings" or (opens and given.arg is None):
                yield from keys(given.value)
            elif opens and given.arg not in ARGUMENTS:
                yield str(given.arg)


def test_a_pooler_that_is_told_this_list_lets_every_setting_of_ours_through() -> None:
    besides = set(settings_of_calls())
    assert {"lock_timeout", "statement_timeout", "synchronous_commit", *STEADY_PLANS} <= besides
    (listed,) = re.findall(r"`ignore_startup_parameters = ([^`]+)`", PAGE)
    assert set(listed.split(", ")) == (SERVER_SETTINGS.keys() | besides) - TRACKED


def test_what_is_set_by_a_statement_is_said_to_be_left_at_its_default() -> None:
    pinned = {*re.findall(r"\('(\w+)', '", PINS), *re.findall(r"set_config\('(\w+)'", DURABLE)}
    (line,) = [line for line in PAGE.splitlines() if line.startswith("**Leave these at Postgres' defaults**")]
    listed = line.partition("comes after it: ")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", listed)) - {"remote_apply"} == pinned


def test_the_limits_that_a_start_asks_for_are_named() -> None:
    (said,) = re.findall(r"says a line at ([^,]+, [^,]+), as `rt-server doctor` does: they must be 0", PAGE)
    told_at_start = {each for each, value in SERVER_SETTINGS.items() if each.endswith("timeout")}
    assert (
        set(re.findall(r"`(\w+)`", said))
        == told_at_start - {"lock_timeout"}
        == told_at_start & {*Facts._fields}
    )
