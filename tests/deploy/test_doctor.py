"""The doctor finds nothing wrong where nothing is, and says for each thing that is wrong what to do."""

import re
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from api.notices.deliver import NO_ADDRESS
from api.settings import ApiSettings
from deploy.cli.doctor import Deployment, Finding, examine, render
from deploy.cli.main import main
from deploy.cli.roles import apply_roles
from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from shared.db.connections import connect
from shared.db.errors import DatabaseUnavailable, SchemaError, translated
from shared.db.migrate import migrate
from shared.db.requirements import Facts, look, require_for_role
from shared.roles import ROLES
from tests.api.webhooks import webhooks
from tests.ports import free_port
from tests.postgres import Postgresql
from tests.services import Process
from tests.waiting import wait_until

LISTENING = {"listening", "notifications", "notification queue"}
INSIDE = {
    "connection limits",
    *(f"connections of {role}" for role in ROLES),
    "creation",
    "extensions",
    "encoding",
    "isolation",
    "schema public",
    "search_path",
    "transaction_timeout",
    "statement_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "session_replication_role",
    "autovacuum",
    "track_counts",
    "track_activities",
    "database",
    "version",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "schema",
    "clock",
    *ROLES,
}
RIGHTS = {f"rights of rt_{service}" for service in ROLES}
# The tests' Postgres runs without fsync, which is one thing that the doctor is there to find.
TESTS_OWN = {"fsync"}


def wrong(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings if not finding.well}


async def altered(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} {statement}")
    finally:
        await connection.close()


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[dict[str, Process]]:
    found = {service: Process(service, database_url, {"LOG_LEVEL": "warn"}) for service in ROLES}
    for process in found.values():
        await process.start()
    for process in found.values():
        await process.ready()
    yield found
    for process in found.values():
        await process.kill()


async def test_finds_nothing_wrong_with_a_whole_deployment(
    database: "asyncpg.Connection[asyncpg.Record]",
    database_url: str,
    processes: dict[str, Process],
    tmp_path: Path,
) -> None:
    await wait_until(
        lambda: database.fetchval("SELECT count(*) = 4 FROM live_processes WHERE ready"),
        what="all to have said that they are ready",
    )
    await apply_roles(database_url, passfiles=None)
    services = {service: [process.url.removeprefix("http://")] for service, process in processes.items()}
    proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: services)
    child = await proxy.launch()
    try:
        assert await until_answering(child, proxy.answers)
        as_a_room = re.sub(r"//\w+@", "//rt_api@", database_url)
        found = await examine(Deployment(database_url=as_a_room, url=proxy.url))
    finally:
        await child.stop(proxy.stop_signals, within_s=5)
    assert wrong(found).keys() == TESTS_OWN
    outside = {"reverse proxy", "api route", "gateway route", "fanout route"}
    assert {finding.what for finding in found} == INSIDE | RIGHTS | LISTENING | outside


async def test_names_each_role_that_is_not_alive(database_url: str) -> None:
    assert wrong(await examine(Deployment(database_url))).keys() == {*ROLES, *TESTS_OWN}


async def test_finds_a_role_that_is_alive_but_not_ready(
    database: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    await database.execute("""
        INSERT INTO processes
            (process_id, role, host, pid, address, version, holds_lock, lease_expires_at, ready)
        SELECT gen_random_uuid(), role, 'h', 1, 'a', 'v', false, 'infinity', role <> 'writer'
        FROM unnest(ARRAY['gateway', 'writer', 'fanout', 'api']) AS role
    """)
    found = wrong(await examine(Deployment(database_url)))
    assert found.keys() == {"writer", *TESTS_OWN}
    assert found["writer"].says == "1 alive, 0 ready"


async def test_says_that_a_database_cannot_be_reached_and_nothing_else() -> None:
    url = f"postgresql://rt:secret@127.0.0.1:{free_port()}/rt"
    (found,) = await examine(Deployment(url))
    assert found.what == "database"
    assert not found.well
    assert "secret" not in render([found])


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("SET synchronous_commit = off", "synchronous_commit"),
        ("SET synchronous_commit = local", "synchronous_commit"),
        ("SET default_transaction_read_only = on", "database"),
        ("SET transaction_timeout = '10s'", "transaction_timeout"),
    ],
)
async def test_finds_a_setting_that_breaks_a_promise_where_something_between_leaves_ours_out(
    database_url: str, statement: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await altered(database_url, statement)
    assert what not in wrong(await examine(Deployment(database_url)))
    monkeypatch.setattr("shared.db.connections.PINS", "SELECT 1")
    monkeypatch.setattr("shared.db.connections.DURABLE", "; SELECT 1")
    found = wrong(await examine(Deployment(database_url)))
    assert "something between leaves it out" in found[what].advice


async def test_says_which_rights_a_role_s_own_user_lacks(
    database: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    async def rights() -> dict[str, Finding]:
        found = await examine(Deployment(database_url, listen=False))
        return {each.what: each for each in found if each.what.startswith("rights")}

    # Users of another database's services have no part in this one.
    await database.execute(
        "DO 'BEGIN CREATE ROLE rt_api LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END'"
    )
    assert await rights() == {}
    await apply_roles(database_url, passfiles=None)
    assert {name for name, each in (await rights()).items() if each.well} == RIGHTS
    await database.execute("REVOKE SELECT ON answered_alerts FROM rt_api")
    found = (await rights())["rights of rt_api"]
    assert found.says == "lacks SELECT on answered_alerts"
    assert "run `rt-server roles`" in found.advice


async def test_says_of_each_role_whether_there_is_room_for_a_process_of_it(
    database: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    async def connections() -> dict[str, Finding]:
        found = await examine(Deployment(database_url, listen=False))
        return {each.what: each for each in found if each.what.startswith("connection")}

    await apply_roles(database_url, passfiles=None)
    found = await connections()  # 118 for each role's user
    assert found["connections of api"].says == (
        "a process of the role api takes up to 20, and rt_api may open 118 more"
    )
    assert all(each.well for each in found.values())
    await database.execute("ALTER ROLE rt_api CONNECTION LIMIT -1")
    assert "rt_api may take all" in (await connections())["connection limits"].advice
    await database.execute("ALTER ROLE rt_api CONNECTION LIMIT 17")
    assert wrong(list((await connections()).values())).keys() == {"connections of api"}
    await apply_roles(database_url, passfiles=None)
    await altered(database_url, "CONNECTION LIMIT 12")
    found = wrong(list((await connections()).values()))
    assert "connections of api" in found
    assert "CONNECTION LIMIT of rt_api or of the database" in found["connections of api"].advice


# Each of these ends a start, or is a line of it; the last two are a schema that others have changed.
UNWELL = [
    {"standby": True},
    {"read_only": True},
    {"version": 17},
    {"encoding": "LATIN1"},
    {"search_path": "app, public"},
    {"isolation": "serializable"},
    {"has_public": False},
    {"may_use": False},
    {"has_plpgsql": False},
    {"fsync": "off", "full_page_writes": "off"},
    {"synchronous_commit": "off", "transaction_timeout": "1s"},
    {"statement_timeout": "1s", "idle_session_timeout": "1s", "idle_in_transaction_session_timeout": "1s"},
]
CHANGED = [
    "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'x', 'y')",
    "UPDATE schema_migrations SET checksum = 'another' WHERE version = 2",
    "DELETE FROM schema_routines; REVOKE CREATE ON SCHEMA public FROM PUBLIC, rt_api",
    "REVOKE SELECT ON schema_migrations FROM rt_api",
    "REVOKE SELECT ON answered_alerts FROM rt_api",
    "ALTER ROLE rt_api CONNECTION LIMIT 9",
]


async def said_by_a_start(url: str) -> list[str]:
    """Return what a start of an api says of its database: what it ends with, or its lines."""
    try:
        await migrate(url)
        connection = await connect(url, name="test")
        try:
            found = await require_for_role(connection, "api")
        finally:
            await connection.close()
    except SchemaError as error:
        return str(error).split("\n")
    return [f"{each.what}: {each.says}; {each.advice}" for each in found]


async def agreed(as_api: str) -> None:
    """See that the doctor says all that a start says."""
    of_start = await said_by_a_start(as_api)
    found = await examine(Deployment(as_api, listen=False))
    of_doctor = [(each.what, each.says.partition(",")[0], each.advice) for each in found if not each.well]
    # Numbers of connections move between the two.
    missed = [
        line
        for line in of_start
        if not any(line.startswith(f"{what}: {says}") for what, says, _ in of_doctor)
    ]
    assert of_start
    assert missed == []


@pytest.mark.parametrize("unwell", UNWELL, ids="+".join)
async def test_whatever_a_start_says_of_a_database_the_doctor_says_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch, unwell: dict[str, object]
) -> None:
    await apply_roles(database_url, passfiles=None)

    async def looked(connection: Any) -> Facts:
        return (await look(connection))._replace(**unwell)  # type: ignore[arg-type]

    for module in ("shared.db.requirements", "deploy.cli.doctor"):
        monkeypatch.setattr(f"{module}.look", looked)
    await agreed(re.sub(r"//\w+@", "//rt_api@", database_url))


@pytest.mark.parametrize("statement", CHANGED)
async def test_whatever_a_start_says_of_schema_rights_and_room_the_doctor_says_too(
    database: "asyncpg.Connection[asyncpg.Record]", database_url: str, statement: str
) -> None:
    await apply_roles(database_url, passfiles=None)
    await database.execute(statement)
    await agreed(re.sub(r"//\w+@", "//rt_api@", database_url))


async def test_finds_that_the_schema_is_missing(empty_database_url: str) -> None:
    found = wrong(await examine(Deployment(empty_database_url)))
    assert "rt-server roles" in found["schema"].advice


async def test_finds_that_the_schema_is_newer_than_this_code(
    database: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    await database.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'x', 'y')")
    assert "use a newer" in wrong(await examine(Deployment(database_url)))["schema"].advice


async def test_finds_a_routine_that_is_not_this_release_s(
    database: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    await database.execute("DELETE FROM schema_routines WHERE name = 'drain.sql'")
    assert "without routines/drain.sql" in wrong(await examine(Deployment(database_url)))["schema"].says


async def test_finds_addresses_that_lead_to_two_databases(database_url: str, cluster: Postgresql) -> None:
    elsewhere = cluster.url(database="postgres")
    found = wrong(await examine(Deployment(database_url, listen_database_url=elsewhere)))
    assert found["addresses"].says == "LISTEN_DATABASE_URL leads to another database than DATABASE_URL"
    same = await examine(Deployment(database_url, listen_database_url=f"{database_url}?sslmode=prefer"))
    assert [each.well for each in same if each.what == "addresses"] == [True]


async def test_finds_that_notifications_do_not_arrive_at_the_listening_address(
    database_url: str, cluster: Postgresql
) -> None:
    elsewhere = cluster.url(database="postgres")  # notifications stay within a database
    found = wrong(await examine(Deployment(database_url, listen_database_url=elsewhere)))
    assert "LISTEN=off" in found["notifications"].advice


async def test_finds_a_pooler_that_lends_another_backend_to_each_transaction(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = count(1)

    class Lent:
        """A connection whose backend is another one each time that one asks."""

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        async def fetchval(self, statement: str) -> Any:
            return (
                next(backends)
                if "pg_backend_pid" in statement
                else await self._connection.fetchval(statement)
            )

    async def lend(url: str, *, name: str) -> Any:
        connection = await connect(url, name=name)
        return Lent(connection) if name == "rt-server doctor listens" else connection

    monkeypatch.setattr("deploy.cli.doctor.connect", lend)
    found = wrong(await examine(Deployment(database_url)))
    assert "LISTEN_DATABASE_URL" in found["listening"].advice


@pytest.mark.parametrize(
    "error", [asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError]
)
async def test_finds_a_pooler_that_loses_prepared_statements_whatever_language_it_is_told_in(
    database_url: str, monkeypatch: pytest.MonkeyPatch, error: type[asyncpg.PostgresError]
) -> None:
    async def lost(*_: Any) -> Any:
        with translated():
            raise error("vorbereitete Anweisung »__asyncpg_stmt_1__« existiert nicht")

    monkeypatch.setattr("deploy.cli.doctor.room", lost)
    found = wrong(await examine(Deployment(database_url, listen=False)))["connections"]
    assert "max_prepared_statements" in found.advice

    async def away(*_: Any) -> Any:
        raise DatabaseUnavailable("the words prepared statement")

    monkeypatch.setattr("deploy.cli.doctor.room", away)
    found = wrong(await examine(Deployment(database_url, listen=False)))["connections"]
    assert "max_prepared_statements" not in found.advice


@pytest.mark.parametrize(("skew_s", "well"), [(0.3, True), (0.7, False), (-0.7, False)])
async def test_finds_a_clock_that_is_not_the_database_s(
    database_url: str, monkeypatch: pytest.MonkeyPatch, skew_s: float, well: bool
) -> None:
    # What passes between the two questions for the time is none of it.
    theirs, ours = time.time(), SimpleNamespace(time=lambda: theirs, monotonic=time.monotonic)
    fixed = f"SELECT {theirs + skew_s}::float8"

    async def look(connection: Any, statement: str, *given: Any, **more: Any) -> Any:
        return await ask(connection, fixed if "clock_timestamp" in statement else statement, *given, **more)

    ask = asyncpg.Connection.fetchval
    monkeypatch.setattr(asyncpg.Connection, "fetchval", look)
    monkeypatch.setattr("deploy.cli.doctor.time", ours)
    found = await examine(Deployment(database_url))
    (clock,) = (finding for finding in found if finding.what == "clock")
    assert (clock.well, clock.says) == (well, f"the database's is {skew_s:+.3f} s from ours")


async def test_finds_a_postgres_that_is_too_old(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.requirements.OLDEST_POSTGRES", 99)
    assert wrong(await examine(Deployment(database_url)))["version"].advice.startswith("upgrade to 99")


async def test_asks_for_no_notification_where_services_poll(database_url: str) -> None:
    found = await examine(Deployment(database_url, listen=False))
    assert [finding.says for finding in found if finding.what in LISTENING] == ["off: every service polls"]


async def test_finds_a_reverse_proxy_that_sends_devices_to_the_wrong_service() -> None:
    async def answer(request: web.Request) -> web.Response:
        api = request.path in ("/healthz", "/api/v1/streams")
        return web.Response(status=200 if api else 404)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with TestServer(app) as server:
        found = wrong(await examine(Deployment(url=str(server.make_url("/")))))
    assert found.keys() == {"gateway route", "fanout route"}
    assert found["gateway route"].says == "answers 404"


async def test_finds_a_reverse_proxy_behind_which_nobody_is(tmp_path: Path) -> None:
    services = {service: [f"127.0.0.1:{free_port()}"] for service in ROLES}
    proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: services)
    child = await proxy.launch()
    try:
        assert await until_answering(child, proxy.answers)
        found = wrong(await examine(Deployment(url=proxy.url)))
    finally:
        await child.stop(proxy.stop_signals, within_s=5)
    assert found.keys() == {"reverse proxy", "api route", "gateway route", "fanout route"}
    assert all("is up" in finding.advice for finding in found.values())


async def test_finds_that_there_is_no_reverse_proxy() -> None:
    (found,) = await examine(Deployment(url=f"http://127.0.0.1:{free_port()}"))
    assert found.says.endswith("Connect call failed ('127.0.0.1', " + found.says.rpartition(", ")[2])
    assert "start the reverse proxy" in found.advice


async def test_sends_a_test_to_who_is_told_of_alerts_and_says_who_does_not_take_it() -> None:
    async with webhooks() as hooks:
        text = f"{hooks.url('takes', '?rto=20')} {hooks.url('fails', '?rto=20')} bogus://a-secret"
        told = ApiSettings.specs()["alert_urls"].read(text)
        found = await examine(Deployment(alert_urls=told))
    assert [each.what for each in found] == ["notices to json 1", "notices to json 2", "notices to bogus 3"]
    assert [each.says for each in found if each.well] == ["a test was sent: ask who gets it"]
    assert found[1].says == "answers 500"
    assert found[2].says == NO_ADDRESS
    assert all("ALERT_URLS" in each.advice for each in found[1:])
    assert "a-secret" not in render(found)
    (message,) = [body["title"] for path, body in hooks.came if path == "takes"]
    assert message == "Test: rt-server doctor"


def test_refuses_what_is_no_address_in_words_that_do_not_hold_it() -> None:
    done = CliRunner().invoke(main, ["doctor"], env={"ALERT_URLS": "ntfy://topic a-secret"})
    assert done.exit_code == 2
    assert "number 2 is none" in done.output
    assert "a-secret" not in done.output


def test_shows_a_line_for_each_finding_and_below_it_what_to_do() -> None:
    assert render([Finding("clock", "right"), Finding("fsync", "off", "turn it on")]) == (
        "ok   clock  right\nBAD  fsync  off\n            → turn it on"
    )


def test_ends_with_code_1_when_something_is_wrong() -> None:
    done = CliRunner().invoke(main, ["doctor", "--url", f"http://127.0.0.1:{free_port()}"])
    assert done.exit_code == 1
    assert done.output.startswith("BAD  reverse proxy")


def test_ends_with_code_2_when_there_is_nothing_to_examine() -> None:
    done = CliRunner(env={"DATABASE_URL": "", "SERVER_URL": ""}).invoke(main, ["doctor"])
    assert done.exit_code == 2
