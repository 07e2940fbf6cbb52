"""`rt-server doctor`: looks at a deployment from inside (its database) and from outside (its reverse proxy) and says
for each thing that is wrong what to do about it.

It asks only what any service's own database user may ask, changes nothing, and needs no process of ours to be up. Who
is told of alerts gets a test.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import NamedTuple

import aiohttp
import asyncpg
import orjson

from api.notices.courier import send
from api.notices.targets import Target
from api.notices.wording import Text
from shared.db.connections import Connection, connect
from shared.db.errors import translated
from shared.db.migrate import judge_schema
from shared.db.requirements import Finding, judge, judge_addresses, judge_rights, judge_room, look, room
from shared.db.rights import lacking, users_with_rights
from shared.errors import RtServerError
from shared.roles import ROLES

__all__ = ["Deployment", "Finding", "examine", "render"]

# The dashboard's red for a reader's clock; times of arrival are the gateways' clocks'.
CLOCK_SKEW_S = 0.5
NOTIFIED_WITHIN_S = 3.0
ANSWER_WITHIN_S = 10.0

POOLER = (
    "a pooler in transaction mode is between: set LISTEN_DATABASE_URL to a direct address (or a pool in session mode), "
    "or LISTEN=off and live by polls"
)
PREPARED = (
    "a pooler in transaction mode is between that loses prepared statements: PgBouncer from 1.21 keeps them "
    "(max_prepared_statements); or use a pool in session mode, or none"
)
# Of a backend that never heard of a statement, or has one of this name already.
PREPARED_ELSEWHERE = {
    asyncpg.InvalidSQLStatementNameError.sqlstate,
    asyncpg.DuplicatePreparedStatementError.sqlstate,
}


class Deployment(NamedTuple):
    """Where to look. An empty address is not looked at. alert_urls: who is sent a test."""

    database_url: str = ""
    listen_database_url: str = ""
    listen: bool = True
    url: str = ""
    alert_urls: Sequence[Target] = ()


async def examine(deployment: Deployment) -> list[Finding]:
    """Look at everything that can be looked at; never raises for what is wrong with the deployment."""
    found: list[Finding] = []
    if deployment.database_url:
        found += [finding async for finding in _inside(deployment)]
    if deployment.url:
        found += await _outside(deployment.url.rstrip("/"))
    return found + await _notices(deployment.alert_urls)


def render(findings: list[Finding]) -> str:
    """Return the findings as aligned lines; below each that is not well, what to do."""
    width = max((len(finding.what) for finding in findings), default=0)
    lines = []
    for each in findings:
        lines.append(f"{'ok' if each.well else 'BAD':<4} {each.what:<{width}}  {each.says}")
        if each.advice:
            lines.append(f"{'':<4} {'':<{width}}  → {each.advice}")
    return "\n".join(lines)


# --- inside ----------------------------------------------------------------------------------------------


async def _inside(deployment: Deployment) -> AsyncIterator[Finding]:
    try:
        connection = await connect(deployment.database_url, name="rt-server doctor")
    except RtServerError as error:
        advice = "start Postgres, or mend DATABASE_URL, the password or the network between"
        yield Finding("database", str(error), advice)
        return
    try:
        for ask in (_requirements, _rights, _clock, _connections, _processes):
            for finding in await _carefully(ask.__name__.strip("_"), lambda ask=ask: ask(connection)):  # type: ignore[misc]
                yield finding
        if not deployment.listen:
            yield Finding("notifications", "off: every service polls")
            return
        direct = deployment.listen_database_url or deployment.database_url
        if direct != deployment.database_url:
            for finding in await _carefully("addresses", lambda: _addresses(connection, direct)):
                yield finding
        for finding in await _carefully("notifications", lambda: _notifications(connection, direct)):
            yield finding
    finally:
        connection.terminate()


async def _carefully(what: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """Look, and make a finding of what the database says instead of an answer."""
    try:
        with translated():
            return await ask()
    except RtServerError as error:
        says, _, _ = str(error).partition("\n")
        pooled = _sqlstate(error) in PREPARED_ELSEWHERE
        return [Finding(what, says, PREPARED if pooled else "see what the database's own log says of it")]


def _sqlstate(error: BaseException | None) -> str | None:
    """Return which error of the database is behind one of ours; its words depend on the server's language."""
    while error is not None and not isinstance(error, asyncpg.PostgresError):
        error = error.__cause__
    return error.sqlstate if error is not None else None


async def _requirements(connection: Connection) -> list[Finding]:
    """Ask what a start asks, in its words; what a start would apply, somebody has to."""
    facts = await look(connection)
    schema, outstanding = await judge_schema(connection, facts)
    if outstanding:
        advice = (
            "run `rt-server roles` (or `migrate`, if the services have no users of their own) as the owner"
        )
        says = f"{schema.says}, without {outstanding[0]}" + (
            f" and {len(outstanding) - 1} more" if outstanding[1:] else ""
        )
        schema = schema._replace(says=says, advice=advice)
    return [*judge(facts, outdated=bool(outstanding)), schema]


async def _addresses(connection: Connection, direct_url: str) -> list[Finding]:
    direct = await connect(direct_url, name="rt-server doctor")
    try:
        return [await judge_addresses(connection, direct)]
    finally:
        direct.terminate()


async def _rights(connection: Connection) -> list[Finding]:
    """Say of each role's own user whether it may do what a start of the role asks for."""
    users = await users_with_rights(connection)
    lacks = await lacking(connection, users) if users else {}
    return [judge_rights(role, users[role], lacks[users[role]]) for role in ROLES if role in users]


async def _clock(connection: Connection) -> list[Finding]:
    """Compare clocks; the answer was given halfway between asking and the answer."""
    asked = time.time()
    theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    skew = theirs - (asked + time.time()) / 2
    advice = "let time synchronisation (chrony, systemd-timesyncd) run on this machine and the database's"
    return [
        Finding(
            "clock", f"the database's is {skew:+.3f} s from ours", advice if abs(skew) > CLOCK_SKEW_S else ""
        )
    ]


async def _connections(connection: Connection) -> list[Finding]:
    """Say of each role whether there is room for one more of its processes, and whether its user may take everything.

    A role without a user of its own is whoever asks.
    """
    asking = await connection.fetchval("SELECT current_user::text")
    own = await users_with_rights(connection)
    users = dict.fromkeys(ROLES, asking) | own
    left = await room(connection, list(users.values()))
    unbounded = await connection.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND rolconnlimit < 0 ORDER BY rolname",
        list(own.values()),
    )
    names = ", ".join(name for (name,) in unbounded)
    advice = (
        f"{names} may take all: run `rt-server roles` as a superuser or who made the users" if names else ""
    )
    limits = Finding(
        "connection limits", "missing" if names else "of each role's own user, if it has one", advice
    )
    return [*(judge_room(role, user, left[user]) for role, user in users.items()), limits]


async def _processes(connection: Connection) -> list[Finding]:
    try:
        rows = await connection.fetch(
            "SELECT role, count(*), count(*) FILTER (WHERE ready) FROM live_processes GROUP BY role"
        )
    except asyncpg.UndefinedTableError:
        return []  # no schema, and said so
    alive = {role: (living, ready) for role, living, ready in rows}
    found = []
    for role in ROLES:
        living, ready = alive.get(role, (0, 0))
        advice = ""
        if living == 0:
            advice = f"start one: `rt-server {role}`; if one should be running, see its log"
        elif ready < living:
            advice = f"ask GET /readyz of each {role} what is wrong"
        found.append(Finding(role, f"{living} alive, {ready} ready", advice))
    return found


async def _notifications(connection: Connection, url: str) -> list[Finding]:
    """Send a notification of our own and receive it, over a listening connection that must keep its backend."""
    listener, other = await connect(url, name="rt-server doctor listens"), None
    try:
        before = await listener.fetchval("SELECT pg_backend_pid()")
        sent_at = time.monotonic()
        received = await _receives(connection, listener)
        taken_s = time.monotonic() - sent_at
        # A pooler that lends backends by transaction lends this one to whoever comes now, and us another.
        other = await connect(url, name="rt-server doctor looks")
        async with other.transaction():
            await other.execute("SELECT 1")
            kept = await listener.fetchval("SELECT pg_backend_pid()") == before
        usage = await connection.fetchval("SELECT pg_notification_queue_usage()")
    finally:
        for each in filter(None, (listener, other)):
            each.terminate()
    jammed = "a listener holds the queue: end the session that pg_notification_queue_usage()'s warning in the log names"
    return [
        Finding(
            "listening", "has a backend of its own" if kept else "changes backends", "" if kept else POOLER
        ),
        Finding("notifications", f"received after {taken_s * 1000:.0f} ms")
        if received
        else Finding("notifications", f"not received within {NOTIFIED_WITHIN_S:.0f} s", POOLER),
        Finding("notification queue", f"{usage:.0%} full", jammed if usage > 0.5 else ""),
    ]


async def _receives(connection: Connection, listener: Connection) -> bool:
    channel, received = f"rt_doctor_{token_hex(8)}", asyncio.Event()
    await listener.add_listener(channel, lambda *_: received.set())
    await connection.execute("SELECT pg_notify($1, '')", channel)
    with suppress(TimeoutError):
        async with asyncio.timeout(NOTIFIED_WITHIN_S):
            await received.wait()
    return received.is_set()


# --- people ----------------------------------------------------------------------------------------------


async def _notices(targets: Sequence[Target]) -> list[Finding]:
    """Send everybody who is told of alerts a test, from this machine; what the addresses are is not said."""
    if not targets:
        return []
    test = Text(
        "Test: rt-server doctor",
        "Alerts will reach you here. Nothing is wrong, and nothing needs to be done.",
    )
    said = await send(targets, "test", test)
    advice = (
        "mend its address in ALERT_URLS, or the way from here to it (a firewall, a proxy); "
        "deploy/docs/runbook.md says how addresses are written"
    )
    return [
        Finding(
            f"notices to {name}", problem or "a test was sent: ask who gets it", advice if problem else ""
        )
        for name, problem in said.items()
    ]


# --- outside ---------------------------------------------------------------------------------------------


async def _outside(url: str) -> list[Finding]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)) as http:
        proxy = await _answer(http, f"{url}/healthz")
        found = [Finding("reverse proxy", f"{url} {proxy or 'answers'}", _advice(proxy, "api"))]
        if proxy.startswith("does not"):
            return found
        streams = await _answer(http, f"{url}/api/v1/streams")
        found.append(Finding("api route", streams or "GET /api/v1/streams answers", _advice(streams, "api")))
        for path, hello, role in (
            (
                "/ws/v1/forwarders",
                {"kind": "forwarder_hello", "forwarder_id": "", "reader_ips": []},
                "gateway",
            ),
            ("/ws/v1/receivers", {"kind": "receiver_hello", "receiver_id": ""}, "fanout"),
            (
                "/ws/v1.2/receivers",
                {"kind": "receiver_hello_v12", "receiver_id": "", "mode": {"mode": "live", "streams": []}},
                "fanout",
            ),
        ):
            wrong = await _greets(http, f"{url}{path}", hello)
            found.append(Finding(f"{role} route", wrong or f"{path} opens sockets", _advice(wrong, role)))
    return found


async def _answer(http: aiohttp.ClientSession, url: str) -> str:
    """Ask, and return what is wrong with the answer, if anything."""
    try:
        async with http.get(url) as answer:
            return "" if answer.status == 200 else f"answers {answer.status}"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"does not answer: {str(error) or type(error).__name__}"


async def _greets(http: aiohttp.ClientSession, url: str, hello: Mapping[str, object]) -> str:
    """Say hello without a token: whoever is the right one refuses it in the device protocol's words."""
    try:
        async with http.ws_connect(url) as socket:
            await socket.send_str(orjson.dumps(hello).decode())
            reply = await socket.receive(timeout=ANSWER_WITHIN_S)
        refused = (
            reply.type is aiohttp.WSMsgType.TEXT and orjson.loads(reply.data).get("code") == "INVALID_TOKEN"
        )
        return "" if refused else "does not speak the device protocol"
    except aiohttp.WSServerHandshakeError as error:
        return f"answers {error.status}"
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return f"does not answer: {str(error) or type(error).__name__}"


def _advice(wrong: str, role: str) -> str:
    if not wrong:
        return ""
    if wrong == "answers 503":
        return f"no {role} that could answer is up, or none reaches the database: see their /readyz"
    if wrong.startswith("does not answer"):
        return "start the reverse proxy, or mend its address, its certificate or the way to it"
    return f"whatever is before us must pass this path, WebSockets included, to a {role} (deploy/server/Caddyfile)"
