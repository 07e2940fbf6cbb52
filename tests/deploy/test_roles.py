"""Each service does its whole work as its own database user, and that user can do nothing else."""

import asyncio
import base64
import importlib
import pkgutil
import re
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import aiohttp
import asyncpg
import pytest

import shared.db.channels
import shared.db.migrate
import shared.runtime.activity
import shared.runtime.liveness
import shared.transport.tokens
from api.announcer.run import Setting, finishes
from api.announcer.store import announcements, runs
from api.links import store as links
from deploy.cli import roles
from deploy.cli.roles import apply_roles, scram_verifier
from deploy.local.postgres_programs import binaries
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.db.errors import DatabaseFault
from shared.db.requirements import CONNECTIONS
from shared.db.rights import Right, needed_rights
from shared.errors import RtServerError
from shared.roles import ROLES
from shared.transport.tokens import token_hash
from tests.api.announcing import come_in
from tests.api.seeds import add_forwarder_session, add_stream
from tests.services import Process, make_token
from tests.waiting import stretched, wait_until
from writer.store.upkeep import empty_inbox

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

READER = "10.0.0.1:10000"
SHARED = (shared.runtime.activity, shared.db.channels, shared.db.migrate, shared.runtime.liveness)
# Of the shared's statements those that are the owner's.
OWNERS = {"shared.db.migrate._RECORD", "shared.db.migrate._RECORD_ROUTINE"}


@pytest.fixture
async def url(database_url: str) -> str:
    """A database with a user for each service in it."""
    await apply_roles(database_url, passfiles=None)
    return database_url


def url_of(service: str, url: str) -> str:
    return re.sub(r"//\w+@", f"//rt_{service}@", url)


@pytest.fixture
async def connected(url: str) -> AsyncIterator[dict[str, Connection]]:
    """A connection as each service's user."""
    found = {service: await asyncpg.connect(url_of(service, url)) for service in ROLES}
    yield found
    for each in found.values():
        await each.close()


# --- what it must be able to do --------------------------------------------------------------------------


def modules(service: str) -> Iterator[ModuleType]:
    """Yield the modules that hold the statements a service runs."""
    package = importlib.import_module(service)
    for found in pkgutil.walk_packages(package.__path__, f"{service}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)
    yield from SHARED
    # The api, too: devices ask it a few things over HTTP.
    if service in ("gateway", "fanout", "api"):
        yield shared.transport.tokens


def statements(service: str) -> dict[str, str]:
    """Return a service's statements by where they stand."""
    found: dict[str, str] = {}
    for module in modules(service):
        for name, value in vars(module).items():
            variants = value if isinstance(value, dict) else {"": value}
            for variant, text in variants.items():
                if isinstance(text, str) and re.match(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b", text):
                    found[f"{module.__name__}.{name}{variant and f'[{variant}]'}"] = text
    # What another statement holds is a part of it, and none by itself.
    parts = {
        text
        for text in found.values()
        if any(text.strip() in each and each != text for each in found.values())
    }
    return {place: text for place, text in found.items() if place not in OWNERS and text not in parts}


@pytest.mark.parametrize("service", ROLES)
async def test_a_service_may_run_each_of_its_statements(
    service: str, connected: dict[str, Connection]
) -> None:
    refused = []
    found = statements(service)
    assert len(found) > 10
    for place, text in found.items():
        try:
            # Planned for any arguments and started, which is when Postgres asks who may do it; not run.
            await connected[service].execute(f"EXPLAIN (GENERIC_PLAN) {text}")
        except asyncpg.InsufficientPrivilegeError as error:
            refused.append(f"{place}: {error}")
    assert not refused


async def test_the_writer_may_empty_the_inbox(connected: dict[str, Connection]) -> None:
    assert await empty_inbox(connected["writer"])


@pytest.fixture
async def running(url: str) -> AsyncIterator[dict[str, Process]]:
    """One process of each service, each as its own user."""
    async with AsyncExitStack() as stack:
        found = {service: Process(service, url_of(service, url), {}) for service in ROLES}
        for process in found.values():
            await process.start()
            stack.push_async_callback(process.kill)
        for process in found.values():
            await process.ready()
        yield found


async def test_services_as_their_own_users_carry_reads_resets_cursors_and_names(
    running: dict[str, Process], database: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    forwarder = Forwarder(
        url=running["gateway"].url,
        token=await make_token(database, "forwarder", "start-line"),
        device_id="start-line",
        readers=[READER],
        display_name="Start",
        backoff_s=(0.05, 0.5),
    )
    receiver = Receiver(
        url=running["fanout"].url,
        token=await make_token(database, "receiver", "tent"),
        streams=[("start-line", READER)],
        manners=AT_ONCE,
    )

    async def cursors() -> bool:
        return bool(await database.fetchval("SELECT sum(last_seq) = 51 FROM receiver_cursors"))

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(stretched(30)):
        tasks.create_task(forwarder.run())
        tasks.create_task(receiver.run())
        for number in range(50):
            forwarder.record(READER, f"line {number}")
        await forwarder.drained()
        await forwarder.loses_journal()
        forwarder.record(READER, "another line under a taken identity")
        await wait_until(lambda: forwarder.journal.epoch(READER) == 2, what="the command to a new epoch")
        forwarder.record(READER, "the first of the new epoch")
        await receiver.wait_for(51)
        await wait_until(cursors, what="the receiver's cursors")
        await operate(running["api"].url)
        assert await database.fetchval("SELECT count(*) FROM event_blocks") == 2
        taken = await connections(database)
        assert all(4 <= taken[service] <= CONNECTIONS[service] for service in ROLES), taken
        await forwarder.stop()
        await receiver.stop()
    assert "permission denied" not in capfd.readouterr().err


async def connections(database: Connection) -> dict[str, int]:
    """Return how many connections each service's user has."""
    rows = await database.fetch("""
        SELECT substr(usename, 4), count(*) FROM pg_stat_activity WHERE usename ^@ 'rt_' GROUP BY usename
    """)
    return dict(map(tuple, rows))


async def operate(url: str) -> None:
    """Do what an operator can do."""
    async with aiohttp.ClientSession(f"{url}/api/v1/") as http:

        async def ask(method: str, path: str, **body: object) -> aiohttp.ClientResponse:
            answer = await http.request(method, path, json=body or None)
            assert answer.status < 300, (method, path, await answer.text())
            return answer

        stream = (await (await ask("GET", "streams")).json())["streams"][0]["stream_id"]
        await ask("PATCH", f"streams/{stream}", display_alias="the start")
        await ask("PUT", f"streams/{stream}/epochs/2/name", name="the second day")
        await ask("PUT", f"streams/{stream}/epochs/2/name", name=None)
        for path in ("metrics", "epochs", "reads", "export.csv", "export.txt"):
            await (await ask("GET", f"streams/{stream}/{path}")).read()
        for path in ("forwarders", "receivers", "conflicts", "processes", "certificate/key"):
            await ask("GET", path)
        certified = await (await ask("GET", f"certificate?stream_id={stream}")).json()
        assert [each["read_count"] for each in certified["parts"]] == [50, 1]
        assert await (await ask("POST", f"streams/{stream}/reset-epoch")).json() == {"new_stream_epoch": 3}
        await ask("GET", "forwarders/start-line/config")
        await ask("DELETE", "receivers/tent/cursors")
        token = await (await ask("POST", "admin/tokens", device_type="receiver", device_id="new")).json()
        await ask("POST", f"admin/tokens/{token['token_id']}/revoke")


# --- what it must not be able to do ----------------------------------------------------------------------

FORBIDDEN = {
    "gateway": [
        # It faces the internet: nothing that is stored may be read or changed through it.
        "SELECT raw_frame FROM events",
        "SELECT count(*) FROM events",
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET raw_frame = ''",
        "DELETE FROM events",
        "TRUNCATE events",
        "SELECT * FROM stream_metrics",
        "UPDATE stream_metrics SET raw_count = 0",
        "SELECT * FROM receiver_cursors",
        "UPDATE receiver_cursors SET last_seq = 0",
        "SELECT * FROM integrity_conflicts",
        "SELECT * FROM poisoned_parts",
        # What others have staged is not its to see, change or take away; outcomes are the writer's word.
        "SELECT raw_frames FROM inbox",
        "SELECT receipt FROM inbox",
        "UPDATE inbox SET raw_frames = '{}'",
        "DELETE FROM inbox",
        "TRUNCATE inbox",
        "INSERT INTO outcomes VALUES (gen_random_uuid(), 'stored', '{1}')",
        "UPDATE outcomes SET outcome = 'stored'",
        "UPDATE inbox_generation SET generation = gen_random_uuid()",
        # Positions are the writer's to hand out, aliases the operators' to give.
        "UPDATE streams SET last_position = 0",
        "UPDATE streams SET display_alias = 'mine'",
        "INSERT INTO streams (forwarder_id, reader_ip, last_position) VALUES ('a', 'b', 1)",
        "DELETE FROM streams",
        # A token's hash is looked up by who has the token, and listed by nobody.
        "SELECT token_hash FROM device_tokens",
        # With it anybody could make a link to anybody.
        "SELECT secret FROM link_secret",
        "UPDATE link_secret SET secret = DEFAULT",
        # With it anybody could certify anything.
        "SELECT secret FROM certificate_keys",
        "SELECT keep_event_blocks(NULL, 1, 0, '{}', '{}', '{}', '{}', '{}', '{}')",
        "SELECT device_id FROM device_tokens",
        "SELECT token_id FROM device_tokens WHERE token_hash = sha256('x')",
        "UPDATE device_tokens SET last_used_at = NULL",
        "INSERT INTO device_tokens (token_hash, device_type, device_id) VALUES (sha256('x'), 'forwarder', 'a')",
        "UPDATE device_tokens SET token_hash = sha256('x')",
        "UPDATE device_tokens SET revoked_at = NULL",
        "UPDATE device_tokens SET device_id = 'another'",
        "DELETE FROM device_tokens",
        # People are nobody's who faces the internet; an epoch's race is given with its reservation only.
        "SELECT * FROM participants",
        "SELECT * FROM chips",
        "SELECT * FROM races",
        "SELECT * FROM epoch_races",
        "INSERT INTO epoch_races SELECT * FROM epoch_races",
        # It carries commands out and asks for none.
        "INSERT INTO commands SELECT * FROM commands",
        "UPDATE commands SET expires_at = 'infinity'",
        "DELETE FROM commands",
        "SELECT * FROM commands",
        "UPDATE commands SET state = 'done'",
        "SELECT * FROM outcomes",
        "DELETE FROM outcomes",
    ],
    "writer": [
        "UPDATE events SET raw_frame = ''",
        "DELETE FROM events",
        "TRUNCATE events",
        "DELETE FROM stream_metrics",
        "DELETE FROM integrity_conflicts",
        "UPDATE integrity_conflicts SET acknowledged_at = now()",
        "SELECT * FROM device_tokens",
        "SELECT secret FROM link_secret",
        "SELECT secret FROM certificate_keys",
        "DELETE FROM event_changes",
        "SELECT * FROM receiver_cursors",
        "UPDATE streams SET display_alias = 'mine'",
        "INSERT INTO streams (forwarder_id, reader_ip) VALUES ('a', 'b')",
        "UPDATE forwarder_sessions SET fence = 0",
        "UPDATE inbox SET raw_frames = '{}'",
    ],
    "fanout": [
        "SELECT * FROM participants",
        "SELECT * FROM chips",
        "INSERT INTO epoch_races SELECT * FROM epoch_races",
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET raw_frame = ''",
        "DELETE FROM events",
        "SELECT * FROM inbox",
        "INSERT INTO outcomes VALUES (gen_random_uuid(), 'stored', '{1}')",
        "UPDATE streams SET last_position = 0",
        "UPDATE stream_metrics SET raw_count = 0",
        "UPDATE receiver_cursors SET receiver_id = 'another'",
        "UPDATE device_tokens SET revoked_at = NULL",
        "SELECT token_hash FROM device_tokens",
        "SELECT secret FROM link_secret",
        "SELECT secret FROM certificate_keys",
        "SELECT * FROM forwarder_sessions",
    ],
    "api": [
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET raw_frame = ''",
        "DELETE FROM events",
        "DELETE FROM streams",
        "UPDATE streams SET last_position = 0",
        "UPDATE stream_metrics SET raw_count = 0",
        "DELETE FROM integrity_conflicts",
        "UPDATE device_tokens SET token_hash = sha256('x')",
        "DELETE FROM device_tokens",
        "SELECT raw_frames FROM inbox",
        "SELECT receipt FROM inbox",
        "INSERT INTO outcomes VALUES (gen_random_uuid(), 'stored', '{1}')",
        "UPDATE receiver_cursors SET last_seq = 0",
        "UPDATE forwarder_sessions SET ended_at = now()",
        # It signs, and makes no key; what was deleted or changed it cannot hide, nor what it was digested as.
        "INSERT INTO certificate_keys DEFAULT VALUES",
        "UPDATE certificate_keys SET retired_at = now()",
        "INSERT INTO event_changes (stream_id, stream_epoch, kind, event_count) SELECT NULL, 0, 'deleted', 1",
        "UPDATE event_changes SET event_count = 1",
        "DELETE FROM event_changes",
        "UPDATE event_blocks SET digest = sha256('x')",
        "DELETE FROM event_blocks",
        # Only where nobody follows them, and without a lock on the whole table.
        "DELETE FROM races",
        "DELETE FROM epoch_races",
        "UPDATE commands SET state = 'done'",
        # What is revoked stays revoked, and no hash becomes that of a token that somebody has.
        "UPDATE device_tokens SET revoked_at = NULL",
        "UPDATE device_tokens SET revoked_at = now()",
        "UPDATE device_tokens SET token_hash = sha256('x')",
    ],
}
FORBIDDEN_TO_ALL = [
    "CREATE TABLE mine (n integer)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql RETURN 1",
    "ALTER TABLE events ADD COLUMN mine integer",
    "DROP TABLE inbox",
    "DELETE FROM schema_migrations",
    "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'mine', 'x')",
    "ALTER TABLE processes DISABLE ROW LEVEL SECURITY",
    "SET ROLE postgres",
    "CREATE ROLE mine",
    "COPY streams TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
    # The log of what happened is added to; nobody empties it.
    "DELETE FROM activity",
    "TRUNCATE activity",
    "UPDATE activity SET event = 'x'",
    "DELETE FROM processes",
    "UPDATE processes SET ready = true",
    "SELECT FROM processes FOR KEY SHARE",
    "INSERT INTO processes (process_id) VALUES (gen_random_uuid())",
    # What is in no table is bounded by no grant on one.
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_put(1, 0, 'x')",
    "SET temp_file_limit = -1",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE CURRENT_USER SET temp_file_limit = -1",
]
# Which tables a service can lock whole, in the weakest mode that who writes rows waits for: those that it deletes from
# by itself (deploy/docs/security.md).
LOCKABLE = {
    "gateway": set[str](),
    "writer": {"inbox", "outcomes", "poisoned_parts"},
    "fanout": {"receiver_cursors", "receiver_sessions"},
    "api": {
        "alert_acknowledgements",
        "alert_mutes",
        "alert_notices",
        "announcements",
        "announcer_streams",
        "chips",
        "point_streams",
        "point_watches",
        "race_points",
        "race_segments",
        "segment_changes",
        "closed_streams",
        "commands",
        "epoch_names",
        "forwarder_races",
        "mat_shares",
        "noticed_alerts",
        "forwarder_zones",
        "participants",
        "reader_clock_marks",
        "reader_clocks",
        "receiver_lags",
        "stream_samples",
        "subscriptions",
        "troubles",
    },
}


@pytest.mark.parametrize("service", ["gateway", "fanout", "api"])
async def test_a_service_holds_no_row_of_a_stream(service: str, connected: dict[str, Connection]) -> None:
    """The writers pass over a stream whose row is held."""
    for strength in ("KEY SHARE", "SHARE", "NO KEY UPDATE", "UPDATE"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connected[service].execute(f"SELECT FROM streams FOR {strength}")


@pytest.mark.parametrize("service", ROLES)
async def test_a_service_locks_no_table_that_others_write(
    service: str, connected: dict[str, Connection]
) -> None:
    tables = await connected[service].fetch("""
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
    """)
    locked = set()
    for (table,) in tables:
        try:
            async with connected[service].transaction():
                await connected[service].execute(f"LOCK TABLE {table} IN SHARE MODE")
        except asyncpg.InsufficientPrivilegeError:
            continue
        locked.add(table)
    assert locked == LOCKABLE[service]


async def test_one_service_takes_no_more_than_its_share_of_the_connections(
    url: str, database: Connection
) -> None:
    limits = await database.fetch("SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname ^@ 'rt_'")
    usable = 300 - 3  # tests/conftest.py, and what Postgres keeps for superusers
    assert {each["rolname"] for each in limits} == {f"rt_{service}" for service in ROLES}
    assert {each["rolconnlimit"] for each in limits} == {usable * 2 // 5}
    await database.execute("ALTER ROLE rt_api CONNECTION LIMIT 2")
    async with AsyncExitStack() as stack:
        for _ in range(2):
            connection = await asyncpg.connect(url_of("api", url))
            stack.push_async_callback(connection.close)
        with pytest.raises(asyncpg.TooManyConnectionsError, match="rt_api"):
            await asyncpg.connect(url_of("api", url))


async def test_what_runs_with_its_owner_s_rights_cannot_be_led_elsewhere(
    url: str, database: Connection
) -> None:
    """A body that is text looks its names up when it runs, on the path of whoever calls it."""
    functions = await database.fetch("""
        SELECT oid::regprocedure::text AS name,
               prosqlbody IS NOT NULL OR coalesce(proconfig, '{}')::text LIKE '%search_path%' AS fixed,
               has_function_privilege('public', oid, 'EXECUTE') AS open
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef
    """)
    assert len(functions) >= 7
    assert not [each["name"] for each in functions if not each["fixed"] or each["open"]]


async def test_a_function_with_its_owner_s_rights_is_nobody_s_until_it_is_given(
    url: str, database: Connection
) -> None:
    await database.execute("CREATE FUNCTION added() RETURNS integer LANGUAGE sql SECURITY DEFINER RETURN 1")
    await apply_roles(url, passfiles=None)
    assert not await database.fetchval("SELECT has_function_privilege('public', 'added()', 'EXECUTE')")


async def test_a_gateway_takes_what_is_asked_and_reads_no_more_of_commands(
    database: Connection, connected: dict[str, Connection]
) -> None:
    await database.execute("""
        INSERT INTO commands (forwarder_id, session_id, gateway_id, kind, request, expires_at, state)
        SELECT 'f', gen_random_uuid(), gateway_id, 'config_get', 'secret', now() + interval '1 min', state
        FROM (VALUES (gen_random_uuid(), 'asked'), (gen_random_uuid(), 'done')) AS given(gateway_id, state)
    """)
    for row in await database.fetch("SELECT gateway_id, state FROM commands"):
        taken = await connected["gateway"].fetch("SELECT * FROM take_commands($1)", row["gateway_id"])
        assert len(taken) == (row["state"] == "asked")
    for other in ("writer", "fanout", "api"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connected[other].fetch("SELECT * FROM take_commands(gen_random_uuid())")


@pytest.mark.parametrize("service", ["writer", "api"])
async def test_only_services_with_devices_look_tokens_up(
    service: str, connected: dict[str, Connection]
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connected[service].fetch("SELECT * FROM authenticate_device(sha256('x'), 'forwarder')")


@pytest.mark.parametrize("service", ROLES)
async def test_a_service_is_refused_what_is_another_s(service: str, connected: dict[str, Connection]) -> None:
    allowed = []
    for statement in FORBIDDEN[service] + FORBIDDEN_TO_ALL:
        try:
            await connected[service].execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        allowed.append(statement)
    assert not allowed


@pytest.mark.parametrize("service", ["gateway", "fanout", "api"])
async def test_only_the_writer_makes_temporary_tables(service: str, connected: dict[str, Connection]) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connected[service].execute("CREATE TEMPORARY TABLE mine (n integer)")
    await connected["writer"].execute("CREATE TEMPORARY TABLE mine (n integer)")


# What no code of ours calls, and processes of the release before do while they are replaced.
KEPT = {"renew_vitals", "ask_for_receiver", "authenticate_device", "renew_process", "reserve_epoch_of_race"}


def test_what_nobody_calls_is_kept_for_the_release_before_and_tried_here() -> None:
    top = Path(__file__).parents[2]
    sources = [each for folder in (*ROLES, "shared", "deploy") for each in (top / folder).rglob("*.py")]
    code = "\n".join(each.read_text() for each in sources)
    routines = "\n".join(each.sql for each in shared.db.migrate.available_routines())

    def called(name: str) -> bool:
        word = re.compile(rf"\b{name}\b")
        return bool(word.search(code)) or len(word.findall(routines)) > 1  # more than its definition

    granted = {right.name for right in needed_rights() if right.kind in ("FUNCTION", "PROCEDURE")}
    assert {name for name in granted if not called(name)} == KEPT


async def test_processes_of_the_release_before_do_their_work_on_the_newest_schema(
    database: Connection, connected: dict[str, Connection]
) -> None:
    for service in ROLES:
        await connected[service].execute(_ENTER, service)
    for process_id, role in await database.fetch("SELECT process_id, role FROM processes"):
        for service in ROLES:
            renewed = await connected[service].fetchval(
                "SELECT renew_process($1, 60, 7, 2.5, true, $2)", process_id, f"of {service}"
            )
            assert renewed == (process_id if service == role else None)
    rows = await database.fetch(
        "SELECT role, connections, events_per_second, ready, problem FROM live_processes"
    )
    assert {tuple(row) for row in rows} == {(role, 7, 2.5, True, f"of {role}") for role in ROLES}
    for service, device_type in (("gateway", "forwarder"), ("fanout", "receiver")):
        token = await make_token(database, device_type, "a")
        found = await connected[service].fetch(
            "SELECT * FROM authenticate_device($1, $2)", token_hash(token), device_type
        )
        assert [each["device_id"] for each in found] == ["a"]
    request = await connected["fanout"].fetchval(
        "SELECT ask_for_receiver(gen_random_uuid(), 'a', gen_random_uuid(), 'here', 'restart', '', 20)"
    )
    assert await database.fetchval("SELECT request_id FROM receiver_requests") == request
    await begins_a_race(database, connected["gateway"])


_RACE = "INSERT INTO races (name) VALUES ('10 km') RETURNING race_id"


async def begins_a_race(database: Connection, gateway: Connection) -> None:
    """Reserve an epoch of a race as a gateway of the release before does."""
    stream, race = await add_stream(database), await database.fetchval(_RACE)
    session = await add_forwarder_session(
        database, "start", await database.fetchval("SELECT process_id FROM processes WHERE role = 'gateway'")
    )
    epoch = await gateway.fetchval("SELECT reserve_epoch_of_race($1, 0, $2, $3)", stream, session, race)
    assert (
        epoch == await database.fetchval("SELECT stream_epoch FROM epoch_races WHERE race_id = $1", race) == 2
    )


_ENTER = "SELECT enter_process(gen_random_uuid(), $1, 'h', 1, 'a', 'v', false, 60)"


async def test_a_service_changes_only_the_rows_of_its_own_processes(
    database: Connection, connected: dict[str, Connection]
) -> None:
    for service in ROLES:
        assert await connected[service].fetchval(_ENTER, service) is not None
    gateway = connected["gateway"]
    assert await gateway.fetchval("SELECT count(*) FROM live_processes") == len(ROLES)
    for process_id, role in await gateway.fetch("SELECT process_id, role FROM processes"):
        renewed = await gateway.fetchval("SELECT renew_vitals($1, 60, 7, 0, true, NULL, 1)", process_id)
        assert renewed == (process_id if role == "gateway" else None)
        reported = "SELECT report_vitals($1, 60, 7, 0, true, NULL, 1, 0, true)"
        assert (await gateway.fetchval(reported, process_id) is not None) == (role == "gateway")
        await gateway.execute("SELECT leave_process($1)", process_id)
    found = await database.fetch("SELECT role, ready FROM processes ORDER BY role")
    assert [tuple(row) for row in found] == [("api", False), ("fanout", False), ("writer", False)]
    assert await gateway.fetchval(_ENTER, "writer") is None


async def test_who_reads_all_data_can_dump_it(url: str, database: Connection) -> None:
    name = url.rpartition("/")[2]
    await database.execute("CREATE ROLE dumps LOGIN; GRANT pg_read_all_data TO dumps")
    await database.execute(f"GRANT CONNECT ON DATABASE {name} TO dumps")
    try:
        pg_dump = await asyncio.create_subprocess_exec(
            binaries() / "pg_dump",
            re.sub(r"//\w+@", "//dumps@", url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        dumped, said = await pg_dump.communicate()
        assert (pg_dump.returncode, said) == (0, b"")
        assert b"COPY public.processes" in dumped
    finally:
        await database.execute("DROP OWNED BY dumps; DROP ROLE dumps")


# The matrix of ARCHITECTURE.md: whose user may write what, and how. A table that is not here is nobody's.
WRITES = {
    "activity": dict.fromkeys(ROLES, "INSERT"),
    "alert_acknowledgements": {"api": "INSERT UPDATE DELETE"},
    "alert_mutes": {"api": "INSERT UPDATE DELETE"},
    "alert_notices": {"api": "INSERT UPDATE DELETE"},
    "noticed_alerts": {"api": "INSERT UPDATE DELETE"},
    "notices_turn": {"api": "UPDATE"},
    "chips": {"api": "INSERT DELETE"},
    "clearing_readers": {"gateway": "INSERT UPDATE"},
    "closed_streams": {"api": "INSERT UPDATE DELETE"},
    "commands": {"api": "INSERT DELETE"},
    "device_tokens": {"api": "INSERT"},
    "epoch_chips": {"writer": "INSERT"},
    "epoch_names": {"api": "INSERT UPDATE DELETE"},
    "epoch_races": {"api": "INSERT UPDATE"},
    "race_points": {"api": "DELETE INSERT UPDATE"},
    "point_watches": {"api": "INSERT UPDATE DELETE"},
    "mat_shares": {"api": "INSERT UPDATE DELETE"},
    "race_segments": {"api": "DELETE INSERT"},
    "segment_changes": {"api": "DELETE INSERT"},
    "point_streams": {"api": "DELETE INSERT"},
    "announcements": {"api": "DELETE INSERT"},
    "announcer": {"api": "UPDATE"},
    "announcer_streams": {"api": "DELETE INSERT UPDATE"},
    "evaluation": {"api": "UPDATE"},
    "link_secret": {"api": "UPDATE"},
    "memory_numbers": {"api": "INSERT UPDATE"},
    "memory_parts": {"api": "INSERT"},
    "events": {"writer": "INSERT"},
    "forwarder_faults": {"gateway": "INSERT UPDATE"},
    "forwarder_races": {"api": "INSERT UPDATE DELETE"},
    "forwarder_sessions": {"gateway": "INSERT UPDATE"},
    "forwarder_ups": {"gateway": "INSERT UPDATE"},
    "forwarder_zones": {"api": "INSERT UPDATE DELETE"},
    "inbox": {"gateway": "INSERT", "writer": "INSERT UPDATE DELETE TRUNCATE"},
    "inbox_generation": {"gateway": "INSERT"},
    "integrity_conflicts": {"writer": "INSERT", "api": "UPDATE"},
    "outcomes": {"writer": "INSERT DELETE TRUNCATE"},
    "participants": {"api": "INSERT DELETE"},
    "poisoned_parts": {"writer": "INSERT DELETE"},
    "races": {"api": "INSERT UPDATE"},
    "clocks_turn": {"api": "UPDATE"},
    "reader_clock_marks": {"api": "INSERT UPDATE DELETE"},
    "reader_clocks": {"api": "INSERT UPDATE DELETE"},
    "reader_states": {"gateway": "INSERT UPDATE"},
    "receiver_cursors": {"fanout": "INSERT UPDATE DELETE"},
    "lags_turn": {"api": "UPDATE"},
    "receiver_lags": {"api": "INSERT UPDATE DELETE"},
    "receiver_requests": {"api": "UPDATE"},
    "receiver_sessions": {"fanout": "INSERT UPDATE DELETE"},
    "stream_metrics": {"writer": "INSERT UPDATE"},
    "stream_samples": {"api": "INSERT UPDATE DELETE"},
    "streams": {"gateway": "INSERT", "writer": "UPDATE"},
    "subscriptions": {"api": "INSERT UPDATE DELETE"},
    "troubles": {"api": "INSERT UPDATE DELETE"},
}
_GRANTED = """
SELECT relname, substr(grantee, 4) AS service, string_agg(DISTINCT kind, ' ') AS kinds
FROM pg_class
CROSS JOIN unnest(ARRAY['rt_gateway', 'rt_writer', 'rt_fanout', 'rt_api']) AS grantee
CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) AS kind
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p', 'm')
  AND (has_table_privilege(grantee, pg_class.oid, kind)
       OR kind IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(grantee, pg_class.oid, kind))
GROUP BY relname, grantee
"""


async def test_who_writes_what_is_the_matrix_to_the_letter(url: str, database: Connection) -> None:
    granted: dict[str, dict[str, set[str]]] = {}
    for table, service, kinds in await database.fetch(_GRANTED):
        granted.setdefault(table, {})[service] = set(kinds.split())
    assert granted == {
        table: {service: set(kinds.split()) for service, kinds in services.items()}
        for table, services in WRITES.items()
    }


_GIVEN = """
WITH given(kind, name, column_name, acl) AS (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname::text, '', relacl
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'TABLE', relname, attname, attacl
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, proname, '', proacl
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'SCHEMA', nspname, '', nspacl FROM pg_namespace
    UNION ALL
    SELECT 'DATABASE', '%I', '', datacl FROM pg_database WHERE datname = current_database()
)
SELECT substr(rolname, 4), privilege_type, kind, name, column_name
FROM given, aclexplode(acl), pg_roles
WHERE pg_roles.oid = grantee AND rolname = ANY($1)
"""


async def test_what_a_start_asks_for_is_what_the_script_gives_and_no_more(
    url: str, database: Connection
) -> None:
    given = await database.fetch(_GIVEN, [f"rt_{service}" for service in ROLES])
    assert len(given) > 150
    assert {Right(*each) for each in given} == set(needed_rights())


# --- how it is given -------------------------------------------------------------------------------------


async def test_what_was_granted_beside_it_is_taken_back(url: str, database: Connection) -> None:
    await database.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO rt_gateway")
    await database.execute("GRANT UPDATE (raw_frame) ON events TO rt_fanout")
    await apply_roles(url, passfiles=None)
    for user in ("rt_gateway", "rt_fanout"):
        assert not await database.fetchval("SELECT has_any_column_privilege($1, 'events', 'UPDATE')", user)


async def test_rights_that_cannot_be_noted_are_not_given(
    url: str, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RtServerError("the log cannot be written")

    await database.execute("GRANT DELETE ON races TO rt_writer")
    with monkeypatch.context() as broken:
        broken.setattr(roles, "note", fails)
        with pytest.raises(RtServerError, match="the log"):
            await apply_roles(url, passfiles=None)
    asked = "SELECT has_table_privilege('rt_writer', 'races', 'DELETE')"
    assert await database.fetchval(asked)
    await apply_roles(url, passfiles=None)
    assert not await database.fetchval(asked)
    assert await database.fetchval(
        "SELECT fields ->> 'passwords' FROM activity WHERE event = 'roles_applied'"
    )


async def test_two_at_once_do_not_stumble(url: str) -> None:
    await asyncio.gather(*(apply_roles(url, passfiles=None) for _ in range(4)))


async def test_keeps_each_password_where_only_its_service_looks(
    url: str, database: Connection, tmp_path: Path
) -> None:
    for service in ROLES:
        (tmp_path / service).mkdir()
    await apply_roles(url, passfiles=tmp_path)
    kept = {service: (tmp_path / service / "pgpass").read_text() for service in ROLES}
    assert len(set(kept.values())) == len(ROLES)
    for service, line in kept.items():
        assert stat.S_IMODE((tmp_path / service / "pgpass").stat().st_mode) == 0o600
        password = line.strip().removeprefix(f"*:*:*:rt_{service}:")
        stored = await database.fetchval(
            "SELECT rolpassword FROM pg_authid WHERE rolname = $1", f"rt_{service}"
        )
        assert stored == scram_verifier(password, base64.b64decode(stored.split("$")[1].split(":")[1]))
    await apply_roles(url, passfiles=tmp_path)
    assert kept == {service: (tmp_path / service / "pgpass").read_text() for service in ROLES}


async def test_a_verifier_is_what_postgres_makes_of_the_password(url: str, database: Connection) -> None:
    await database.execute("ALTER ROLE rt_api PASSWORD 'correct horse'")
    stored = await database.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'rt_api'")
    assert stored == scram_verifier("correct horse", base64.b64decode(stored.split("$")[1].split(":")[1]))


async def test_an_owner_who_is_no_superuser_gives_the_rights(url: str, database: Connection) -> None:
    # As under an operator or with a managed Postgres, where the users have been made by other means.
    await database.execute("DROP ROLE IF EXISTS plain_owner")
    await database.execute("CREATE ROLE plain_owner LOGIN")
    await database.execute("CREATE DATABASE plain OWNER plain_owner")
    try:
        owned = re.sub(r"//\w+@(.*)/\w+$", r"//plain_owner@\1/plain", url)
        await shared.db.migrate.migrate(owned)
        await apply_roles(owned, passfiles=None)
        connection = await asyncpg.connect(url_of("writer", owned))
        await connection.execute("SELECT count(*) FROM events")
        await connection.close()
    finally:
        await database.execute("DROP DATABASE plain WITH (FORCE)")
        await database.execute("DROP ROLE plain_owner")


async def test_says_in_one_line_that_a_service_s_user_cannot_give_rights(url: str) -> None:
    with pytest.raises(DatabaseFault, match=r"^InsufficientPrivilegeError: [^\n]*$"):
        await apply_roles(url_of("gateway", url), passfiles=None)


async def test_links_are_signed_and_withdrawn_by_the_api_s_own_user(connected: dict[str, Connection]) -> None:
    api = connected["api"]
    before = await links.sealing(api)
    async with api.transaction():
        await links.replace(api)
    after = await links.sealing(api)
    assert len(after.secret) == len(before.secret)
    assert after.secret != before.secret


async def test_the_announcer_is_set_and_announces_by_the_api_s_own_user(
    database: Connection, connected: dict[str, Connection]
) -> None:
    api, stream_id = connected["api"], await add_stream(database, "finish")
    on = Setting(enabled=True, until=None, over=False, max_list_size=5, stream_ids=[stream_id])
    async with api.transaction():
        await runs.hold(api)
        await runs.keep(api, on)
        await runs.begin_run(api)
    await come_in(database, stream_id, [1], epoch=2)
    async with api.transaction():
        assert await runs.hold_if_free(api)
        assert [each.stream_epoch for each in await runs.moved(api)] == [2]
        run_id = await runs.begin_run_at_epochs(api)
        reads, up_to = await announcements.reads(api)
        assert await announcements.announce(api, run_id, finishes(reads, {})) == 1
        await announcements.advance(api, up_to)
    (row,) = await announcements.rows(api, run_id, at_most=5)
    assert row.public.display_name == "Unknown"
    async with api.transaction():
        await runs.keep(api, on._replace(stream_ids=[]))
    assert (await runs.config(api)).shown.selected_stream_ids == []
