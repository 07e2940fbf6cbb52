"""What people write as DATABASE_URL, and providers hand out: taken, or a line that says what to do."""

import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from shared.db import connections
from shared.db.connections import connect, create_pool
from shared.db.errors import DatabaseUnavailable
from shared.db.url import CONNECT_TIMEOUT_S, parse_database_url
from shared.errors import SettingsError
from shared.runtime.settings import Settings

# Each holds the password written as it is, with what stands where it is split.
UNENCODED = [
    "postgresql://rt:Se/cret@db.example/rt",
    "postgresql://rt:S3cr#t@db.example/rt",
    "postgresql://rt:Se?cret@db.example/rt",
    "postgresql://rt@db.example/rt?password=p@ss",
    "postgresql://rt:p@ss@db.example/rt",
    "postgresql://rt:p[x@db.example/rt",
    "postgresql://rt:100%secret@db.example/rt",
    "postgresql://rt:pa ss@db.example/rt",
    "postgresql://rt:a/b#c?d@db.example/rt",
]


@pytest.mark.parametrize("url", UNENCODED)
async def test_a_password_that_is_not_encoded_is_said_to_be_that_and_not_shown(url: str) -> None:
    with pytest.raises(
        SettingsError, match=r"DATABASE_URL is wrong: it has a character .* percent-encode"
    ) as raised:
        Settings.read({"database_url": url})
    with pytest.raises(DatabaseUnavailable, match="percent-encode") as refused:
        await connect(url, name="test")
    for said in (str(raised.value), str(refused.value)):
        assert not any(
            part in said for part in ("cret", "S3cr", "ss@", "p[x", "100", "pa ss", "a/b", "db.example")
        )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rt:secret@db/rt", "must look like"),
        ("jdbc:postgresql://db/rt?password=secret", "must look like"),
        ("postgresql+asyncpg://rt:secret@db/rt", "must look like"),
        ("postgresql://rt:secret", "port that is a number"),
        ("postgresql://rt:secret@db:5432x/rt", "port that is a number"),
        ('"postgresql://rt:secret@db/rt"', "begins with a quote"),
        ("postgresql://rt:secret@db/rt?secret", "name=value"),
        ("postgresql://rt:secret@db/rt?schema=secret", "parameter schema, which is another library's"),
        ("postgresql://rt:secret@db/rt?ssl=true", "parameter ssl, which is another library's"),
        ("postgresql://rt:secret@db/rt?gssencmode=require", "use TLS"),
        (
            "postgresql://rt:secret@db/rt?hostaddr=10.0.0.1",
            "hostaddr, which is not spoken here: write the address",
        ),
        ("postgresql://rt:secret@db/rt?requirepeer=postgres", "requirepeer, which is not spoken here"),
        ("postgresql://rt:secret@db/rt?sslcrldir=/etc/crl", "one file .* in sslcrl"),
        ("postgresql://rt:secret@db/rt?servicefile=/etc/pg", "set PGSERVICEFILE"),
        (
            "postgresql://rt:secret@db/rt?sslmod=require",
            "parameter sslmod, which nobody here knows: correct it",
        ),
        ("postgresql://rt:secret@db/rt?work_mem=5MB", "into options=-c%20name%3Dvalue"),
        ("postgresql://rt:pw@db/rt?sslmode=disable&S3secret!=1", "a parameter whose name is none"),
        ("postgresql://rt:secret@db/rt?channel_binding=require&sslmode=require", "sslmode=verify-full"),
        ("postgresql://rt:secret@db/rt?sslrootcert=system&sslmode=require", "takes sslmode=verify-full"),
        ("postgresql://rt:secret@db/rt?connect_timeout=soon", "whole number of seconds"),
        ("postgresql://rt:secret@db/rt?sslmode=verify-full&sslrootcert=/nowhere", "a file in sslrootcert"),
        ("postgresql://rt@db/rt?passfile=/nowhere", "a file in passfile"),
        (
            "postgresql://rt:secret@db/rt?sslrootcert=system&sslcert=/nowhere&sslkey=/nowhere",
            "names a file in sslcert that uid .* or that is not there: put it there",
        ),
        (
            f"postgresql://rt:secret@db/rt?sslrootcert=system&sslcert={__file__}&sslkey={__file__}",
            "names in sslcert and sslkey .* what is no certificate with its key: name PEM files",
        ),
        (
            f"postgresql://rt:secret@db/rt?sslrootcert=system&sslcrl={__file__}",
            "has sslcrl beside sslrootcert=system, which cannot be: name a file with",
        ),
        (
            "postgresql://rt:secret@db/rt?sslrootcert=system&ssl_min_protocol_version=TLSv9",
            "asks for a version of TLS that is none of",
        ),
        (
            "postgresql://rt:pw@db/rt?sslrootcert=system&sslpassword=secret",
            "has sslpassword beside sslrootcert=system, which cannot be: write the key without",
        ),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_to_do(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        parse_database_url(url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_what_libpq_takes_is_taken(database_url: str) -> None:
    of_libpq = [
        "connect_timeout=10",
        "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=9000",
        "gssencmode=disable",
        "gssencmode=prefer&channel_binding=prefer&sslsni=1",
        "application_name=mine&client_encoding=utf8",
        "target_session_attrs=primary&load_balance_hosts=disable",
        "options=-c%20work_mem%3D5MB",
        "sslmode=",
    ]
    for parameters in of_libpq:
        connection = await connect(f"{database_url}?{parameters}", name="test")
        assert await connection.fetchval("SHOW application_name") == "test", parameters
        assert ("work_mem" in parameters) == (await connection.fetchval("SHOW work_mem") == "5MB")
        await connection.close()


# Those of Postgres 18's documentation, section 34.1.2, in its order.
OF_LIBPQ = """
host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding options
application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
tcp_user_timeout replication gssencmode sslmode requiressl sslnegotiation sslcompression sslcert sslkey sslkeylogfile
sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version
ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib gssdelegation scram_client_key
scram_server_key service servicefile target_session_attrs load_balance_hosts oauth_issuer oauth_client_id
oauth_client_secret oauth_scope
"""


def test_every_parameter_of_libpq_has_an_answer() -> None:
    def answer(name: str) -> str:
        try:
            return parse_database_url(f"postgresql://rt@db/rt?{name}=1").url
        except ValueError as error:
            return str(error)

    assert [each for each in OF_LIBPQ.split() if "nobody here knows" in answer(each)] == []
    assert "nobody here knows" in answer("sslmod")


def test_time_and_trust_that_a_url_asks_for_are_given() -> None:
    assert parse_database_url("postgresql://rt@db/rt").timeout_s == CONNECT_TIMEOUT_S
    assert parse_database_url("postgresql://rt@db/rt?connect_timeout=10").timeout_s == 10
    for parameters in (
        "sslrootcert=system",
        "sslmode=verify-full&sslrootcert=system&channel_binding=require",
    ):
        parsed = parse_database_url(
            f"postgresql://rt:s%2Fcret@db,[::1]:5433/r%20t?{parameters}&options=-c%20jit%3Doff"
        )
        assert parsed.tls is not None
        assert parsed.tls.check_hostname
        assert parsed.url == "postgresql://rt:s%2Fcret@db,[::1]:5433/r%20t?options=-c+jit%3Doff"
        assert parsed.place == "db,[::1]:5433/r t"


def test_what_else_is_said_of_tls_counts_beside_trust_in_whom_the_system_trusts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMAXPROTOCOLVERSION", "TLSv1.3")
    parsed = parse_database_url("postgresql://rt@db/rt?sslrootcert=system&ssl_min_protocol_version=TLSv1.3")
    assert parsed.url == "postgresql://rt@db/rt"
    assert parsed.tls is not None
    assert (parsed.tls.minimum_version, parsed.tls.maximum_version) == (ssl.TLSVersion.TLSv1_3,) * 2
    said = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        parsed.tls.wrap_bio(ssl.MemoryBIO(), said, server_hostname="db").do_handshake()
    assert b"\x0apostgresql" in said.read()  # what a server asks for that is spoken to in TLS at once


@pytest.mark.parametrize(
    "variables",
    [
        {"PGSSLROOTCERT": "system"},
        {"PGSSLROOTCERT": "system", "PGSSLMODE": "verify-full"},
        {"PGSSLROOTCERT": "system", "PGSSLMODE": "require"},
    ],
)
def test_trust_that_the_environment_asks_for_is_given_or_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    url = "postgresql://rt:secret@db/rt"
    assert parse_database_url(f"{url}?sslmode=disable").tls is None
    if variables.get("PGSSLMODE") == "require":
        with pytest.raises(ValueError, match=r"PGSSLROOTCERT is that.*, which takes sslmode=verify-full"):
            parse_database_url(url)
        url += "?sslmode=verify-full"
    parsed = parse_database_url(url)
    assert parsed.tls is not None
    assert parsed.tls.check_hostname
    monkeypatch.setenv("PGSSLCERT", "/nowhere")
    with pytest.raises(ValueError, match=r"PGSSLCERT and PGSSLKEY.* what is no certificate with its key"):
        parse_database_url(url)
    monkeypatch.delenv("PGSSLCERT")
    monkeypatch.setenv("PGSSLCRL", "/nowhere")
    with pytest.raises(ValueError, match="has sslcrl beside"):
        parse_database_url(url)


async def test_tls_that_the_environment_asks_for_is_not_asked_of_who_is_to_have_none(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGSSLNEGOTIATION", "direct")
    connection = await connect(f"{database_url}?sslmode=disable", name="test")
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@pytest.mark.parametrize(
    ("written", "meant"), [("p+ss", "p+ss"), ("p%2Bss", "p+ss"), ("p%20ss", "p ss"), ("p%26s", "p&s")]
)
def test_a_password_among_the_parameters_is_sent_as_libpq_would_send_it(written: str, meant: str) -> None:
    """asyncpg reads the URL once more, and takes + for a blank."""
    url = parse_database_url(f"postgresql://rt@db/rt?password={written}").url
    assert parse_qs(urlsplit(url).query)["password"] == [meant]


def test_a_passfile_that_others_may_read_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:rt:secret")
    passfile.chmod(0o600)
    assert parse_database_url(f"postgresql://rt@db/rt?passfile={passfile}")
    passfile.chmod(0o640)
    with pytest.raises(ValueError, match="others may read, so it is not used: chmod 600"):
        parse_database_url(f"postgresql://rt@db/rt?passfile={passfile}")


async def test_a_home_that_is_another_s_is_none(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may enter everywhere, so what a uid without rights would be told is said here."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".postgresql").mkdir()
    for name in ("postgresql.key", "postgresql.crt"):
        (tmp_path / ".postgresql" / name).write_text("not ours")
    monkeypatch.setattr("os.access", lambda *_: False)
    connection = await connect(database_url, name="test")
    await connection.close()
    assert os.environ["HOME"] == os.devnull
    assert isinstance(connection, asyncpg.Connection)


OFFENDING = ("default_transaction_read_only = on", "transaction_timeout = '1s'", "synchronous_commit = off")


async def pinned(connection: Any) -> list[str]:
    names = ("transaction_read_only", "transaction_timeout", "synchronous_commit")
    return [await connection.fetchval(f"SHOW {name}") for name in names]


@pytest.fixture
async def offending_url(database_url: str) -> str:
    administrator = await asyncpg.connect(database_url)
    for setting in OFFENDING:
        await administrator.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET {setting}")
    await administrator.close()
    return database_url


async def test_acks_and_exports_do_not_depend_on_what_an_administrator_has_set(offending_url: str) -> None:
    connection = await connect(offending_url, name="test")
    assert await pinned(connection) == ["off", "0", "on"]
    await connection.close()
    # What a pool lends is reset after each use.
    async with await create_pool(offending_url, name="test", size=1) as pool:
        for _ in range(2):
            async with pool.acquire() as lent:
                assert await pinned(lent) == ["off", "0", "on"]


ODD = {
    "default_transaction_deferrable": "on",
    "exit_on_error": "on",
    "row_security": "off",
    "datestyle": "German, DMY",
    "intervalstyle": "iso_8601",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_nestloop": "off",
}


async def test_statements_mean_and_do_what_they_were_written_for_whatever_is_set(database_url: str) -> None:
    administrator = await asyncpg.connect(database_url)
    name = database_url.rpartition("/")[2]
    usual = {each: await administrator.fetchval("SELECT current_setting($1)", each) for each in ODD}
    for setting, odd in ODD.items():
        await administrator.execute(f"ALTER DATABASE {name} SET {setting} = {odd}")
    await administrator.close()

    async def found(connection: Any) -> dict[str, str]:
        return {each: await connection.fetchval("SELECT current_setting($1)", each) for each in ODD}

    plain = await asyncpg.connect(database_url)
    assert all(value != usual[each] for each, value in (await found(plain)).items())
    await plain.close()
    connection = await connect(database_url, name="test")
    assert await found(connection) == usual
    await connection.close()
    async with await create_pool(database_url, name="test", size=1) as pool:
        for _ in range(2):
            async with pool.acquire() as lent:
                assert await found(lent) == usual


async def test_a_commit_that_waits_for_more_than_ours_stays_and_so_does_one_that_nobody_waits_for(
    database_url: str,
) -> None:
    administrator = await asyncpg.connect(database_url)
    name = database_url.rpartition("/")[2]
    await administrator.execute(f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    await administrator.close()
    stricter = await connect(database_url, name="test")
    assert (await pinned(stricter))[2] == "remote_apply"
    await stricter.close()
    async with await create_pool(database_url, name="test", size=1) as pool:
        for _ in range(2):
            assert await pool.fetchval("SHOW synchronous_commit") == "remote_apply"
    idle = await connect(database_url, name="test", synchronous_commit="off")
    assert await pinned(idle) == ["off", "0", "off"]
    await idle.close()


async def test_a_postgres_that_does_not_know_a_setting_is_connected_to_all_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PINS", connections.PINS.replace("transaction_timeout", "rt_not_known"))
    connection = await connect(database_url, name="test")
    assert await connection.fetchval("SELECT current_setting('rt_not_known', true)") is None
    await connection.close()


async def test_each_connection_has_its_settings_whatever_the_database_s_are(database_url: str) -> None:
    administrator = await asyncpg.connect(database_url)
    name = database_url.rpartition("/")[2]
    for setting in (
        "search_path = app, public",
        "default_transaction_isolation = serializable",
        "statement_timeout = '1s'",
        "lock_timeout = '1ms'",
        "idle_session_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1s'",
        "timezone = 'Asia/Tokyo'",
    ):
        await administrator.execute(f"ALTER DATABASE {name} SET {setting}")
    await administrator.close()
    connection = await connect(database_url, name="test", lock_timeout="2s")
    shown = {
        setting: await connection.fetchval(f"SHOW {setting}")
        for setting in (
            "search_path",
            "transaction_isolation",
            "statement_timeout",
            "lock_timeout",
            "idle_session_timeout",
        )
    }
    await connection.close()
    assert shown == {
        "search_path": "public",
        "transaction_isolation": "read committed",
        "statement_timeout": "0",
        "lock_timeout": "2s",
        "idle_session_timeout": "0",
    }
