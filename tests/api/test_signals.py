"""A signal is one file: what there is to know of it follows from its rule, and nothing else of the api names it."""

import ast
import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any, get_args

import aiohttp
import pytest

from api.alerts import stream_facts
from api.alerts.actions import actions
from api.alerts.conditions import SubjectKind
from api.alerts.rules import RULES
from deploy.local.child import ends_with_parent
from shared.db.connections import Connection, connect
from tests.api import made_up
from tests.api.conftest import Client
from tests.api.looking import OVERVIEW, asked
from tests.api.seeds import Database, add_stream
from tests.services import Process
from tests.source import parsed
from tests.waiting import wait_until

API = Path(__file__).parents[2] / "api"
ALERTS = API / "alerts"
NAMES = [rule.signal for rule in RULES]


def test_every_file_of_a_signal_is_a_rule_and_no_two_have_the_same_place() -> None:
    files = {path.stem for path in (ALERTS / "rules").glob("*.py")} - {"__init__"}
    assert set(NAMES) == files
    assert len({rule.order for rule in RULES}) == len(RULES)


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_nothing_of_the_alerts_but_its_file_knows_a_signal_by_name() -> None:
    # A word that is the kind of a subject, too, says nothing of signals.
    names = set(NAMES) - set(get_args(SubjectKind))
    files = [*ALERTS.glob("*.py"), API / "live" / "metrics.py"]
    assert len(files) > 10
    for path in files:
        for text in strings(path):
            assert text not in names, path
            assert not any(f"'{name}'" in text for name in names), path


def test_nothing_of_the_api_asks_what_a_signal_is_called() -> None:
    """Whatever the name is: conflict and process are words of other things, too."""
    files = [path for path in API.rglob("*.py") if path.parent.name != "rules"]
    assert len(files) > 100
    assert not [f"{path}: {each}" for path in files for each in asked_for(parsed(path.read_text()))]


def asked_for(tree: ast.AST) -> Iterator[str]:
    """Yield where something that is called a signal is compared with a text, in Python or in SQL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and re.search(r"\bsignal\b", ast.unparse(node)):
            sides = [each for side in (node.left, *node.comparators) for each in ast.walk(side)]
            if any(isinstance(each, ast.Constant) and each.value in NAMES for each in sides):
                yield ast.unparse(node)
        elif isinstance(node, ast.Match) and re.search(r"\bsignal\b", ast.unparse(node.subject)):
            yield ast.unparse(node.subject)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\bsignal\s*(?:=|<>|!=|(?:NOT )?IN)\s*\(?\s*'\w+'", node.value)


@pytest.mark.parametrize(
    "source",
    [
        "each.key.signal == 'conflict'",
        "'process' != row['signal']",
        "signal in ('ups', 'clock')",
        "match each.signal:\n    case 'ups': pass",
        "X = \"SELECT FROM troubles WHERE signal = 'process'\"",
    ],
)
def test_who_asks_is_found(source: str) -> None:
    assert list(asked_for(parsed(source)))


def test_the_page_never_asks_what_a_signal_is_called() -> None:
    """What depends on it is said with the alert: its actions are."""
    for path in (API / "dashboard" / "static").glob("*.js"):
        assert not re.search(r"\.signal\b|\[\"signal\"\]|\bsignal\b[^{};]*\} = ", path.read_text()), path


def test_the_page_has_no_words_of_its_own_for_signals() -> None:
    """What it says of one comes with the answer."""
    # Those that are plain words, too, say nothing of signals.
    names = {each for each in NAMES if "_" in each}
    assert len(names) > 3
    files = [*(API / "dashboard" / "static").glob("*.js")]
    assert len(files) > 10
    for path in files:
        assert not names & set(re.findall(r"[a-z_]+", path.read_text())), path


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, name="signals")
    yield connection
    await connection.close()


async def test_what_several_rules_share_is_read_once(connection: Connection) -> None:
    statements = [statement for statement, *_ in await asked(connection)]
    streams = stream_facts.statement([rule.wanted for rule in RULES if rule.wanted is not None])
    assert statements.count(streams) == 1
    # One for each source; who follows what is noted before it is asked.
    sources = {rule.source for rule in RULES}
    assert len(statements) == len(sources) + 1 < len(RULES)


async def test_an_alert_of_a_later_release_is_shown(client: Client, database: Database) -> None:
    """While processes are replaced one by one, one of the next release may have looked."""
    await database.execute(
        """
        INSERT INTO troubles (signal, subject_kind, subject_id, title, level, reason, advice, since)
        VALUES ('of_a_later_release', 'forwarder', 'f', 'Finish', 'watch', 'so it says', 'Do.', now())
        """
    )
    assert actions("of_a_later_release", "forwarder") == []
    async with client.get(OVERVIEW) as answer:
        assert answer.status == 200
        (alert,) = (await answer.json())["troubles"]
    assert (alert["signal"], alert["actions"], alert["reason"]) == ("of_a_later_release", [], "so it says")


# --- one that is made up --------------------------------------------------------------------------------------


@pytest.fixture
async def changed_api(database_url: str, tmp_path: Path) -> AsyncIterator[Process]:
    """An api of which one file is new."""
    copytree(API, tmp_path / "api", ignore=ignore_patterns("__pycache__"))
    copy(made_up.__file__, tmp_path / "api" / "alerts" / "rules" / "made_up.py")
    process = Process("api", database_url, {})
    process.child = await asyncio.create_subprocess_exec(
        *ends_with_parent([sys.executable, "-m", "api"], signal.SIGKILL),
        cwd=tmp_path,
        env={**os.environ, "DATABASE_URL": database_url, "BIND_ADDR": f"127.0.0.1:{process.port}"},
    )
    try:
        await process.ready()
        yield process
    finally:
        if process.child.returncode is None:
            await process.kill()


async def test_a_new_signal_is_a_new_file_and_nothing_else(changed_api: Process, database: Database) -> None:
    # At once: a look at some of them would tell each of those.
    async with database.transaction():
        stream_id = await add_stream(database, "once", epoch=7)
        await add_stream(database, "never")
        for n in range(30):
            await add_stream(database, "often", f"10.0.0.{n}:10000", epoch=8)
    async with aiohttp.ClientSession(changed_api.url) as http:

        async def told() -> dict[str, Any]:
            async with http.get(OVERVIEW) as answer:
                alerts = (await answer.json())["troubles"]
            return {each["subject_id"]: each for each in alerts if each["signal"] == made_up.RULE.signal}

        await wait_until(lambda: _all(told), what="both alerts")
        alerts = await told()
        # Evaluation and page: its words, its advice, what can be done; of many streams one.
        assert alerts.keys() == {str(stream_id), "often"}
        one, many = alerts[str(stream_id)], alerts["often"]
        assert (one["level"], one["reason"]) == ("watch", "numbered anew 7 times")
        assert (one["advice"], one["actions"]) == ("Look who does it.", ["open_stream"])
        assert many["reason"] == "30 or more streams, the first: numbered anew 8 times"
        assert many["actions"] == ["open_streams"]
        # Metrics.
        await wait_until(lambda: _counted(http, 'signal="made_up"} 2.0'), what="its number")
        # The API's document.
        async with http.get("/api/v1/openapi.json") as answer:
            schemas = (await answer.json())["components"]["schemas"]
        for each in ("Alert", "Mute"):
            assert set(schemas[each]["properties"]["signal"]["enum"]) == {*NAMES, made_up.RULE.signal}


async def _all(told: Any) -> bool:
    return len(await told()) == 2


async def _counted(http: aiohttp.ClientSession, line: str) -> bool:
    async with http.get("/metrics") as answer:
        return f'rtserver_alerts{{level="watch",{line}' in (await answer.text()).splitlines()
