"""What a start needs of its database is found before anything is changed in it, and said in a line with what to do."""

import asyncio
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from deploy.cli.roles import apply_roles
from deploy.local.postgres_programs import give_to_server, unprivileged
from shared.db.connections import connect
from shared.db.errors import DatabaseUnavailable, SchemaError
from shared.db.migrate import migrate
from shared.db.requirements import (
    Facts,
    judge,
    judge_rights,
    judge_room,
    look,
    require_addresses,
    require_for_role,
    room,
)
from shared.roles import ROLES
from shared.runtime.liveness import Presence
from shared.runtime.process import Process as Life
from shared.runtime.settings import Settings
from shared.wake import Stop
from tests.ports import free_port
from tests.postgres import Postgresql, start_cluster
from tests.programs import find, needs
from tests.services import Process
from tests.waiting import stretched, wait_until

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

WELL = Facts(
    version=18,
    standby=False,
    read_only=False,
    encoding="UTF8",
    search_path="public",
    isolation="read committed",
    replication_role="origin",
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    transaction_timeout="0",
    statement_timeout="0",
    idle_session_timeout="0",
    idle_in_transaction_session_timeout="0",
    autovacuum="on",
    track_counts="on",
    track_activities="on",
    database_user="rt",
    database="rt",
    has_public=True,
    may_use=True,
    may_create=False,
    has_plpgsql=True,
)

# Limits in time that a connection is told at its start, and that nothing sets again after it.
LIMITS = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout")


def needed(facts: Facts) -> set[str]:
    return {each.what for each in judge(facts) if each.needed and not each.well}


def test_a_database_that_is_well_has_nothing_to_be_done() -> None:
    assert not [each for each in judge(WELL) if not each.well]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"standby": True}, "database"),
        ({"read_only": True}, "database"),
        ({"version": 17}, "version"),
        ({"encoding": "LATIN1"}, "encoding"),
        ({"encoding": "SQL_ASCII"}, "encoding"),
        ({"search_path": "app, public"}, "search_path"),
        ({"isolation": "serializable"}, "isolation"),
        ({"replication_role": "replica"}, "session_replication_role"),
        ({"has_public": False}, "schema public"),
        ({"may_use": False}, "schema public"),
        ({"has_plpgsql": False}, "extensions"),
    ],
)
def test_nothing_starts_without_what_is_needed(changed: dict[str, object], what: str) -> None:
    assert needed(WELL._replace(**changed)) == {what}  # type: ignore[arg-type]


def test_what_only_the_promises_rest_on_stops_no_start() -> None:
    off = (
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "autovacuum",
        "track_counts",
        "track_activities",
    )
    limits = ("transaction_timeout", *LIMITS)
    odd = WELL._replace(**dict.fromkeys(off, "off"), **dict.fromkeys(limits, "10s"))  # type: ignore[arg-type]
    assert not needed(odd)
    assert {each.what for each in judge(odd) if not each.well} == {*off, *limits}


async def test_triggers_and_keys_that_an_administrator_has_switched_off_end_a_start_in_one_line(
    database_url: str,
) -> None:
    """Restoring tools set it for a role, and forget it: nothing would notify, and no key be looked at."""
    name = database_url.rpartition("/")[2]
    administrator = await asyncpg.connect(database_url)
    await administrator.execute(f"ALTER DATABASE {name} SET session_replication_role = replica")
    await administrator.close()
    with pytest.raises(
        SchemaError, match=r"^session_replication_role: replica; .*ALTER DATABASE \w+\) RESET[^\n]*$"
    ):
        await migrate(database_url)


async def test_what_is_left_to_the_server_is_asked_of_it_and_not_of_our_list(database_url: str) -> None:
    administrator = await asyncpg.connect(database_url)
    name = database_url.rpartition("/")[2]
    await administrator.execute(f"ALTER DATABASE {name} SET track_activities = off")
    await administrator.execute(f"ALTER DATABASE {name} SET track_counts = off")
    await administrator.close()
    connection = await connect(database_url, name="test")
    unwell = {each.what for each in judge(await look(connection)) if not each.well}
    await connection.close()
    assert unwell - {"fsync"} == {"track_activities", "track_counts"}


@pytest.mark.parametrize(("left", "well"), [(19, True), (18, False), (0, False)])
def test_a_start_says_where_it_can_come_to_need_more_connections_than_it_gets(left: int, well: bool) -> None:
    found = judge_room("api", "rt", left)
    assert (found.well, found.needed) == (well, False)
    assert well or f"takes up to 20, and rt may open {left} more" in found.says


async def test_the_narrowest_limit_of_connections_is_the_one_that_counts(database_url: str) -> None:
    await apply_roles(database_url, passfiles=None)
    name, as_writer = database_url.rpartition("/")[2], of_role("writer", database_url)
    administrator = await asyncpg.connect(database_url)
    writer = await connect(as_writer, name="test")
    try:
        users = ["rt_writer", await administrator.fetchval("SELECT current_user::text")]
        assert (await room(writer, users))["rt_writer"] > 50
        await administrator.execute("ALTER ROLE rt_writer CONNECTION LIMIT 4")
        assert (await room(administrator, users))["rt_writer"] == 3
        await administrator.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 4")
        left = await room(writer, users)
        assert left.pop("rt_writer") == 2
        assert all(each > 50 for each in left.values())
        (found,) = [
            each for each in await require_for_role(writer, "writer") if each.what == "connections of writer"
        ]
        assert found.says == "a process of the role writer takes up to 6, and rt_writer may open 2 more"
    finally:
        await writer.close()
        await administrator.close()


async def test_two_addresses_that_lead_to_two_databases_end_a_start_before_anything_is_made(
    empty_database_url: str, cluster: Postgresql
) -> None:
    """The one is a pooler's, say, and the other was written for another race's database, or another server's."""
    elsewhere = cluster.url(database="postgres")
    for url, direct in ((empty_database_url, elsewhere), (elsewhere, empty_database_url)):
        settings = Settings.read({"database_url": url, "listen_database_url": direct})
        with pytest.raises(
            SchemaError,
            match=r"^addresses: LISTEN_DATABASE_URL leads to another database than DATABASE_URL; give both .*$",
        ) as raised:
            async with asyncio.timeout(stretched(20)):
                await Life("writer", settings).run()
        assert "\n" not in str(raised.value)
    for url in (empty_database_url, elsewhere):
        connection = await asyncpg.connect(url)
        assert not await connection.fetchval("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
        await connection.close()


async def test_a_database_of_the_same_name_and_number_on_another_server_is_another(
    database_url: str, tmp_path: Path, seed: Path
) -> None:
    """A copy made of files, such as a standby that was promoted: everything that the database says of itself is one."""
    with tempfile.TemporaryDirectory() as directory:
        copy = start_cluster(Path(directory), seed)
        try:
            ours, theirs = [
                re.sub(r"/\w+$", "/postgres", url) for url in (database_url, copy.url(database="x"))
            ]
            with pytest.raises(SchemaError, match="leads to another database"):
                await require_addresses(ours, theirs)
        finally:
            copy.stop()


async def test_two_addresses_of_one_database_are_taken(database_url: str) -> None:
    await require_addresses(database_url, f"{database_url}?application_name=direct")


# --- rights ----------------------------------------------------------------------------------------------


def of_role(role: str, url: str) -> str:
    return re.sub(r"//\w+@", f"//rt_{role}@", url)


# What each takes away, and how it is called: a table, a column, a view that is new, a sequence, functions, a procedure.
TAKEN = [
    ("gateway", "REVOKE SELECT ON streams FROM rt_gateway", "SELECT on streams"),
    ("gateway", "REVOKE SELECT (part_id) ON inbox FROM rt_gateway", "SELECT on inbox.part_id"),
    ("gateway", "REVOKE USAGE ON SEQUENCE session_fence FROM rt_gateway", "USAGE on session_fence"),
    ("gateway", "REVOKE EXECUTE ON FUNCTION renew_vitals FROM rt_gateway", "EXECUTE on renew_vitals"),
    ("writer", "REVOKE EXECUTE ON PROCEDURE drain FROM rt_writer", "EXECUTE on drain"),
    ("fanout", "REVOKE DELETE ON receiver_cursors FROM rt_fanout", "DELETE on receiver_cursors"),
    ("api", "REVOKE SELECT ON answered_alerts FROM rt_api", "SELECT on answered_alerts"),
    ("api", "REVOKE UPDATE ON alert_mutes FROM rt_api", "UPDATE on alert_mutes"),
]


@pytest.mark.parametrize(("role", "statement", "right"), TAKEN)
async def test_a_start_names_the_right_that_its_user_lacks_and_what_gives_it(
    database_url: str, database: Connection, role: str, statement: str, right: str
) -> None:
    await apply_roles(database_url, passfiles=None)
    connection = await connect(of_role(role, database_url), name="test")
    try:
        await require_for_role(connection, role)
        await database.execute(statement)
        with pytest.raises(
            SchemaError, match=f"^rights of rt_{role}: lacks {right}; run `rt-server roles` as the owner.*$"
        ) as raised:
            await require_for_role(connection, role)
        assert "\n" not in str(raised.value)
    finally:
        await connection.close()


async def test_what_is_new_since_the_roles_were_given_ends_a_start_in_one_line(
    database_url: str, database: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    """A migration without `rt-server roles` after it."""
    await apply_roles(database_url, passfiles=None)
    await database.execute("""
        ALTER TABLE closed_streams RENAME TO before;
        CREATE TABLE closed_streams (LIKE before);
        REVOKE ALL ON FUNCTION revoke_token FROM rt_api
    """)
    process = Process("api", of_role("api", database_url), {})
    await process.start()
    try:
        async with asyncio.timeout(stretched(20)):
            assert await process.ended() == 1
    finally:
        if process.child is not None and process.child.returncode is None:
            await process.kill()
    said = [line for line in capfd.readouterr().err.splitlines() if "cannot_run" in line]
    assert len(said) == 1
    assert "rights of rt_api: lacks EXECUTE on revoke_token, SELECT on closed_streams" in said[0]
    assert "and 2 more; run `rt-server roles` as the owner" in said[0]


async def test_an_owner_has_all_rights_and_a_stranger_is_told_whom_to_be(
    database_url: str, database: Connection
) -> None:
    await apply_roles(database_url, passfiles=None)
    for role in ROLES:
        await require_for_role(database, role)
    writer = await connect(of_role("writer", database_url), name="test")
    with pytest.raises(SchemaError, match="another role's: a gateway is rt_gateway"):
        await require_for_role(writer, "gateway")
    await writer.close()
    assert "connect as rt_api" in judge_rights("api", "app", ["SELECT on events"]).advice


async def test_who_may_not_even_read_the_version_of_the_schema_is_told_what_gives_it(
    database_url: str, database: Connection
) -> None:
    await apply_roles(database_url, passfiles=None)
    await database.execute("REVOKE SELECT ON schema_migrations FROM rt_writer")
    with pytest.raises(SchemaError, match="may not read which version the schema has; run `rt-server roles`"):
        await migrate(of_role("writer", database_url))


# --- what an administrator has set ------------------------------------------------------------------------


async def test_a_standby_is_refused_with_where_to_look(tmp_path: Path, seed: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cluster = start_cluster(Path(directory), seed)
        try:
            cluster.terminate()
            (Path(cluster.get_data_directory()) / "standby.signal").touch()
            cluster.start()
            with pytest.raises(
                SchemaError, match=r"^database: a standby; DATABASE_URL must lead to the primary"
            ):
                await migrate(cluster.url(database="test"))
        finally:
            cluster.stop()


async def test_a_start_on_a_server_without_fsync_says_so_once_and_works(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    process = Process("writer", database_url, {})
    await process.start()
    try:
        await process.ready()
    finally:
        await process.kill()
    said = [line for line in capfd.readouterr().err.splitlines() if "database_requirement" in line]
    assert len(said) == 1
    assert "fsync" in said[0]
    assert "a crash loses what was acked" in said[0]


# --- the schema and who may make it ------------------------------------------------------------------------


@pytest.fixture
async def administrator(empty_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("CREATE ROLE app LOGIN CREATEROLE")
    yield connection
    await connection.execute("REASSIGN OWNED BY app TO CURRENT_USER; DROP OWNED BY app; DROP ROLE app")
    await connection.close()


def as_app(url: str) -> str:
    return re.sub(r"//\w+@", "//app@", url)


async def test_a_schema_of_the_owner_s_name_is_passed_over(
    empty_database_url: str, administrator: Connection
) -> None:
    name = empty_database_url.rpartition("/")[2]
    await administrator.execute(f"""
        CREATE SCHEMA app AUTHORIZATION app; GRANT CREATE, USAGE ON SCHEMA public TO app;
        ALTER DATABASE {name} OWNER TO app; ALTER DATABASE {name} SET search_path = app, public;
    """)
    await migrate(as_app(empty_database_url))
    await apply_roles(as_app(empty_database_url), passfiles=None)
    writer = await connect(re.sub(r"//\w+@", "//rt_writer@", empty_database_url), name="test")
    try:
        assert await writer.fetchval("SELECT count(*) FROM events") == 0
        assert await migrate(re.sub(r"//\w+@", "//rt_writer@", empty_database_url)) == []
    finally:
        await writer.close()


async def test_what_a_pooler_leaves_out_is_missed_only_where_another_setting_is_in_the_way(
    empty_database_url: str, administrator: Connection
) -> None:
    """A connection without the settings that ours have, as a pooler would hand it on."""
    assert not needed(await look(administrator))
    await administrator.execute("CREATE SCHEMA app; SET search_path = app, public")
    assert needed(await look(administrator)) == {"search_path"}
    await administrator.execute("RESET search_path; SET default_transaction_isolation = 'repeatable read'")
    assert needed(await look(administrator)) == {"isolation"}


@pytest.mark.parametrize("setting", LIMITS)
async def test_a_limit_in_time_that_a_pooler_lets_stand_is_said_with_what_takes_it_away(
    database_url: str, database: Connection, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply_roles(database_url, passfiles=None)
    await database.execute(f"ALTER ROLE rt_writer SET {setting} = '50s'")

    async def said() -> list[str]:
        writer = await connect(of_role("writer", database_url), name="test")
        try:
            found = await require_for_role(writer, "writer")
        finally:
            await writer.close()
        return [f"{each.says}; {each.advice}" for each in found if each.what == setting]

    try:
        assert await said() == []  # ours beats it, until something leaves ours out
        monkeypatch.setattr("shared.db.connections.SERVER_SETTINGS", {})
        (line,) = await said()
        advised = rf"ALTER ROLE rt_writer \(or ALTER DATABASE \w+\) RESET {setting};"
        assert re.match(rf"50s; [^\n]*{advised}[^\n]*$", line)
        await database.execute(f"ALTER ROLE rt_writer RESET {setting}")
        assert await said() == []
    finally:
        await database.execute(f"ALTER ROLE rt_writer RESET {setting}")


async def test_an_owner_who_may_not_create_is_told_the_grant(
    empty_database_url: str, administrator: Connection
) -> None:
    with pytest.raises(SchemaError, match="GRANT CREATE ON SCHEMA public TO app") as raised:
        await migrate(as_app(empty_database_url))
    assert "\n" not in str(raised.value)


async def test_a_database_without_the_schema_public_is_told_to_make_one(
    empty_database_url: str, administrator: Connection
) -> None:
    await administrator.execute("DROP SCHEMA public")
    with pytest.raises(SchemaError, match="CREATE SCHEMA public"):
        await migrate(empty_database_url)
    await administrator.execute("CREATE SCHEMA public")


async def test_a_database_of_another_encoding_is_refused_before_any_table(cluster: Postgresql) -> None:
    administrator = await asyncpg.connect(cluster.url(database="postgres"))
    await administrator.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(SchemaError, match="encoding: LATIN1; make the database anew"):
            await migrate(cluster.url(database="latin"))
        connection = await asyncpg.connect(cluster.url(database="latin"))
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.close()
    finally:
        await administrator.execute("DROP DATABASE latin WITH (FORCE)")
        await administrator.close()


async def test_a_role_as_another_role_s_user_is_told_so(database_url: str) -> None:
    await apply_roles(database_url, passfiles=None)
    url = re.sub(r"//\w+@", "//rt_writer@", database_url)
    presence = Presence(url, role="gateway", address="a", holds_lock=False, stop=Stop())
    with pytest.raises(SchemaError, match="another role's: a gateway is rt_gateway"):
        await presence.__aenter__()


@pytest.fixture
def older() -> Iterator[str]:
    """The address of an older Postgres, a real one."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        data.mkdir(mode=0o700)
        data.parent.chmod(0o755)
        give_to_server(data)
        *before, postgres = find("postgres")
        initdb = [
            *before,
            str(Path(postgres).with_name("initdb")),
            "-D",
            str(data),
            *("-U", "postgres", "-A", "trust", "-N"),
        ]
        subprocess.run(unprivileged(initdb), check=True, capture_output=True)
        argv = [*before, postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-F", "-k", ""]
        with subprocess.Popen(unprivileged(argv), stderr=subprocess.DEVNULL) as server:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
            server.terminate()


@needs("postgres")
async def test_an_older_postgres_is_refused_in_one_line_before_any_migration(older: str) -> None:
    async def up() -> bool:
        with suppress(DatabaseUnavailable):
            await (await connect(older, name="test")).close()
            return True
        return False

    await wait_until(up, what="the older Postgres")
    with pytest.raises(SchemaError, match=r"^version: Postgres 1[567]; upgrade to 18 or newer[^\n]*$"):
        await migrate(older)
    connection = await connect(older, name="test")
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()
