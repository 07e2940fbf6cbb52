"""What the runbook names is there: services, programs, numbers, routes, events, statements, places."""

import ast
import os
import re
import subprocess
from pathlib import Path

import asyncpg
import pytest

import tests.deploy.every_service  # noqa: F401 (and with it all metrics)
from api.routes import ROUTES
from deploy.local.postgres_programs import binaries
from shared.db.errors import DISK_FULL
from tests.deploy.compose import COMPOSE_FILE, VARIABLE, load_compose
from tests.deploy.runbook.document import BLOCKS, REPOSITORY, RUNBOOK, SYMPTOMS, Block
from tests.deploy.runbook.terminal import Terminal
from tests.metrics import series
from tests.source import parsed

# Of compose's subcommands: their options that are followed by a value.
_WITH_VALUE = {"--since", "--tail", "--env", "-e", "--format"}
_ONE_SERVICE = {"exec", "run"}
COMPOSE_BLOCKS = [each for each in BLOCKS.values() if each.kind == "compose"]


def services_named(text: str) -> list[str]:
    """Return the services that the compose commands of a block are about."""
    found: list[str] = []
    for subcommand, rest in re.findall(r"docker compose (\w+)([^\n;|}]*)", text):
        words = rest.split()
        while words and words[0].startswith("-"):
            words = words[2 if words[0] in _WITH_VALUE else 1 :]
        found += words[:1] if subcommand in _ONE_SERVICE else words
    return found


@pytest.mark.parametrize("each", COMPOSE_BLOCKS, ids=lambda each: each.title)
def test_a_compose_command_is_about_services_that_there_are(each: Block) -> None:
    services = load_compose({"POSTGRES_PASSWORD": "x"})["services"]
    assert each.title.startswith("production: ")
    assert "docker compose" in each.text
    assert set(services_named(each.text)) <= services.keys()
    done = subprocess.run(["bash", "-n"], input=each.text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_finds_the_services_in_compose_commands() -> None:
    text = 'docker compose up -d\ndocker compose logs --since 15m gateway x\nf() { docker compose exec -T y z "$@"; }\n'
    assert services_named(text) == ["gateway", "x", "y"]


def test_the_production_terminal_is_that_of_the_compose_file() -> None:
    text = BLOCKS["production: the same programs, in their containers"].text
    files = dict(re.findall(r"(COMPOSE_FILE|COMPOSE_ENV_FILES)=(\S+)", text))
    assert REPOSITORY / files["COMPOSE_FILE"] == COMPOSE_FILE
    example = (REPOSITORY / f"{files['COMPOSE_ENV_FILES']}.example").read_text()
    assert re.search("^API_TOKEN=", example, re.MULTILINE)
    services = load_compose({"POSTGRES_PASSWORD": "x"})["services"]
    of_postgres = services["postgres"]["environment"]
    url = f"postgresql://{of_postgres['POSTGRES_USER']}@/{of_postgres['POSTGRES_DB']}"
    assert f"DATABASE_URL={url}\n" in text
    # The owner's service, without a service's restrictions: what it is given is a subcommand of rt-server.
    owner = f"postgresql://{of_postgres['POSTGRES_USER']}@"
    assert services["migrate"]["environment"]["DATABASE_URL"].startswith(owner)


# Stands in for docker: what is to run in a container is run here.
_DOCKER = """#!/bin/bash
echo "$*" >> "$0.asked"
case "$1 $2 $3 $4 $5" in
    "compose exec -T postgres "*) exec "${@:5}" ;;
    "compose run --rm -T migrate") exec rt-server "${@:6}" ;;
    "compose config --format json ") echo '{"services": {"api": {"environment": {"API_TOKEN": "a$$b c"}}}}' ;;
    *) exit 9 ;;
esac
"""


async def test_what_the_production_terminal_sends_into_containers_arrives(
    database_url: str, tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(_DOCKER)
    docker.chmod(0o755)
    path = [str(tmp_path), str(REPOSITORY / ".venv" / "bin"), str(binaries()), os.defpath]
    environment = {"PATH": ":".join(path), "HOME": str(tmp_path), "SAVE_DIR": str(tmp_path)}
    terminal = Terminal(tmp_path / "typed", environment)
    await terminal.open()
    try:
        await terminal.run(BLOCKS["production: the same programs, in their containers"].text)
        # Compose's own reading of .env, and nothing that would beat it at the next `up` from this terminal.
        assert await terminal.run('echo -n "$OPERATOR_TOKEN"') == "a$b c"
        assert "OPERATOR_TOKEN" not in await terminal.run("export -p")
        await terminal.run(f"export DATABASE_URL={database_url}")
        await terminal.run(BLOCKS["name the forwarder, the reader and the receiver"].text)
        token = await terminal.run(BLOCKS["make a token for a receiver, by the database alone"].text)
        await terminal.run(BLOCKS["back up: the schema, then everything that counts, of one moment"].text)
        assert int(await terminal.run(BLOCKS["can it be read?"].text)) > 15
        await terminal.run("export STREAM_ID=00000000-0000-0000-0000-000000000000")
        assert "COMMIT" in await terminal.run(BLOCKS["delete what is stored of one stream"].text)
    finally:
        await terminal.close()
    assert len(token.strip()) == 43
    asked = (tmp_path / "docker.asked").read_text()
    assert {"migrate token", "postgres pg_dump", "postgres pg_restore", "postgres psql"} <= set(
        re.findall(r"(?:postgres|migrate) \w+", asked)
    )


def test_no_block_exports_what_the_compose_file_asks_for() -> None:
    asked = {found.group(1) for found in VARIABLE.finditer(COMPOSE_FILE.read_text())}
    for each in BLOCKS.values():
        exported = {
            name
            for line in re.findall(r"^export (.*)$", each.text, re.MULTILINE)
            for name in re.findall(r"(?:^| )(\w+)=", line)
        }
        assert not exported & asked, each.title


def test_the_production_terminal_has_nothing_that_would_beat_what_the_environment_file_says() -> None:
    lines = [line for line in COMPOSE_FILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    asked = {found.group(1) for found in VARIABLE.finditer("\n".join(lines))}
    text = BLOCKS["production: the same programs, in their containers"].text
    unset = {name for line in re.findall(r"^unset (.*)$", text, re.MULTILINE) for name in line.split()}
    assert unset == asked
    assert max(text.rindex(f"unset {each}") for each in ("API_TOKEN", "POSTGRES")) < text.index(
        "docker compose"
    )


_DELETES = [
    f"DELETE FROM {table} WHERE stream_id = :'stream';"
    for table in ("receiver_cursors", "stream_metrics", "events", "streams")
]


# After the reads, so that their number is known, and before the stream, whose title is told.
_TOLD = """
INSERT INTO activity (level, process_id, event, fields)
SELECT 'info', '00000000-0000-0000-0000-000000000000', '{}', jsonb_build_object(
    'stream', stream_title(streams), 'stream_id', stream_id, 'reads', :ROW_COUNT, 'by', :'by', 'address', '')
FROM streams WHERE stream_id = :'stream';
"""


@pytest.mark.parametrize(
    ("title", "statements"),
    [
        (
            "delete what is stored of one stream",
            [*_DELETES[:3], _TOLD.format("stream_past_deleted").strip()],
        ),
        (
            "delete the stream as well: names, conflicts and all",
            [*_DELETES[:3], _TOLD.format("stream_deleted").strip(), _DELETES[3]],
        ),
    ],
)
def test_a_past_is_deleted_by_the_statements_that_the_writers_expect_and_told(
    title: str, statements: list[str]
) -> None:
    sql = BLOCKS[title].text.partition("<<'SQL'\n")[2]
    assert sql.strip() == "\n".join(["BEGIN;", *statements, "COMMIT;", "SQL"])


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_says_where_to_look_and_what_to_do(symptom: str) -> None:
    assert list(SYMPTOMS[symptom]) == ["Dashboard", "API", "Number", "Log", "Do"]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# Databases of the blocks, and what a block looks for: no numbers.
_NO_NUMBERS = {"rtserver_restored", "rtserver_replaced", "rtserver_inbox"}


def test_every_number_in_the_runbook_is_one_that_a_process_shows() -> None:
    known = series()
    named = [each for lines in SYMPTOMS.values() for each in quoted(lines["Number"])]
    assert all(each.startswith("rtserver_") for each in named)
    in_text = set(re.findall(r"\brtserver_\w+", RUNBOOK.read_text()))
    assert set(named) <= in_text
    assert in_text - _NO_NUMBERS <= known


def test_every_route_in_the_runbook_is_one_of_the_api() -> None:
    routes = {f"{route.method} {route.path}" for route in ROUTES}
    named = {each for lines in SYMPTOMS.values() for each in quoted(lines["API"])}
    assert named <= routes


def events_logged() -> set[str]:
    """Return what the services log or note: the first argument, wherever it is written out, of what does that."""
    found: set[str] = set()
    for folder in ("gateway", "writer", "fanout", "api", "shared"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(parsed(path.read_text())):
                if isinstance(node, ast.Call) and node.args:
                    # Of a function or of a method.
                    found |= _names(ast.unparse(node.func).rpartition(".")[2], node.args[0])
    return found


_SAY = {"debug", "info", "warning", "error", "exception", "note", "_note", "doubt"}


def _names(function: str, argument: ast.expr) -> set[str]:
    if function not in _SAY:
        return set()
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return {argument.value}
    if isinstance(argument, ast.JoinedStr) and "_device_type" in ast.unparse(argument):
        end = str(argument.values[-1].value) if isinstance(argument.values[-1], ast.Constant) else ""
        return {f"{kind}{end}" for kind in ("forwarder", "receiver")}
    return set()


def test_every_event_in_the_runbook_is_one_that_a_service_logs() -> None:
    named = {each for lines in SYMPTOMS.values() for each in quoted(lines["Log"])}
    assert named <= events_logged()


def test_the_runbook_leads_to_places_that_there_are() -> None:
    text = RUNBOOK.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (RUNBOOK.parent / target).exists(), target
    headings = {
        re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-")
        for each in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
    for page in (RUNBOOK.parent / "README.md", REPOSITORY / "README.md"):
        assert "runbook.md)" in page.read_text()


def test_no_command_stands_in_the_text_alone_where_nothing_runs_it() -> None:
    text = RUNBOOK.read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    commands = [
        each for each in quoted(prose) if re.match(r"(docker|psql|pg_\w+|curl|rt-server|api|see) \S", each)
    ]
    assert commands
    run = "\n".join(each.text for each in BLOCKS.values())
    assert [each for each in commands if each not in run and "ROUTE" not in each] == []


async def test_a_backup_does_not_wait_for_who_empties_the_inbox(database_url: str, tmp_path: Path) -> None:
    text = BLOCKS["back up: the schema, then everything that counts, of one moment"].text
    command = text.partition("&&")[2].replace("pg_dump", "pg_dump --lock-wait-timeout=2s")
    path = f"{binaries()}:{os.defpath}"
    terminal = Terminal(
        tmp_path / "typed", {"PATH": path, "DATABASE_URL": database_url, "SAVE_DIR": str(tmp_path)}
    )
    await terminal.open()
    administrator = await asyncpg.connect(database_url)
    try:
        await administrator.execute("BEGIN; LOCK TABLE inbox, outcomes, commands IN ACCESS EXCLUSIVE MODE")
        await terminal.run(command)
    finally:
        await administrator.close()
        await terminal.close()


# Beside what stands in its files: what the page says of a level, and what it is told of the database.
_SAID = {"GOOD", "WATCH", "ACT"}


def words_of_the_page() -> str:
    files = sorted((REPOSITORY / "api" / "dashboard" / "static").glob("*.js"))
    rules = sorted((REPOSITORY / "api" / "alerts" / "rules").glob("*.py"))
    return "\n".join(path.read_text() for path in (*files, *rules))


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_what_the_dashboard_is_said_to_show_is_what_it_says(symptom: str) -> None:
    page, line = words_of_the_page(), SYMPTOMS[symptom]["Dashboard"]
    shouted = set(re.findall(r"\b[A-Z]{2,}(?: [A-Z]{2,})*\b", f"{symptom} {line}")) - _SAID - {"API"}
    assert [each for each in shouted if f'"{each}"' not in page] == []
    shown = [each for each in quoted(line) if "_" not in each]
    assert [each for each in shown if f'"{each}' not in page] == []


def test_each_way_in_which_nothing_can_be_known_is_found_under_the_word_that_the_page_has_for_it() -> None:
    page = words_of_the_page()
    words = dict(re.findall(r'^const (LOST|STALLED) = \{\n\s+word: "([^"]+)"', page, re.MULTILINE))
    away = SYMPTOMS["The database is away"]["Dashboard"]
    assert away.startswith(words["STALLED"])
    assert f"The dashboard says {words['LOST']}, or {words['STALLED']}" in SYMPTOMS


def test_a_full_disk_is_found_by_what_the_page_and_the_log_say_of_it() -> None:
    full = SYMPTOMS["The disk is full"]
    assert full["Dashboard"].startswith("ACT, ")
    assert "`reads wait and nothing is stored`" in full["Dashboard"]
    assert DISK_FULL in full["Dashboard"]
    assert "storing_interrupted" in quoted(full["Log"])
