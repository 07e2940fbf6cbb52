"""The production file as it stands, run with several processes of a service: one reverse proxy, names for addresses,
users with their own passwords, no privileges, and nothing that is reached which should not be.
"""

import asyncio
import json
import re
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from deploy.local.postgres_programs import give_to_server, write_launchers
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from tests.deploy.compose import COMPOSE_FILE, load_compose, read_env
from tests.deploy.containers import Container, Engine, in_namespace, why_not
from tests.programs import AS_ROOT
from tests.waiting import stretched, wait_until

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=f"no namespaces: {why_not()}: {AS_ROOT}"),
    pytest.mark.asyncio(loop_scope="module"),
]

PASSWORD = secrets.token_urlsafe(9) + "/@:?# %$HOME"  # of any characters
EXAMPLE = COMPOSE_FILE.with_name(".env.example")
SCALE = {"writer": 1, "api": 1, "gateway": 2, "fanout": 2, "server": 1}


def make_cluster(directory: Path, options: Sequence[str]) -> Path:
    """Make a cluster as the database's image does and return its server's program."""
    postgres, initdb = write_launchers(directory)
    password, cluster = directory / "password", directory / "cluster"
    password.write_text(PASSWORD)
    give_to_server(password)
    cluster.mkdir(mode=0o700)
    users = ("-U", "rtserver", f"--pwfile={password}", "--auth=scram-sha-256")
    subprocess.run([initdb, "-D", cluster, *users, "-N", *options], check=True, capture_output=True)
    with (cluster / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    create = [str(postgres), "--single", "-D", str(cluster), "postgres"]
    subprocess.run(create, input=b"CREATE DATABASE rtserver", check=True, capture_output=True)
    return postgres


async def start_postgres(engine: Engine, directory: Path) -> None:
    described = engine.compose["services"]["postgres"]
    postgres = make_cluster(directory, described["environment"]["POSTGRES_INITDB_ARGS"].split())
    listen = ("-c", "listen_addresses=*", "-c", "unix_socket_directories=")
    argv = [str(postgres), "-D", str(directory / "cluster"), *listen, *described["command"][1:]]
    await up(await engine.run("postgres", argv, confined=False))


async def up(container: Container) -> None:
    """Wait until the database takes connections."""

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", 5432), 1).close()
        except OSError:
            return False
        return True

    def serves() -> bool:
        container.lives()
        return in_namespace(container.namespace, answers)

    await wait_until(serves, what="Postgres")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """All services, as `up -d --scale gateway=2 --scale fanout=2` would have them.

    As on a fresh `.env`: a copy of the example with nothing but a password written into it.
    """
    tmp_path = tmp_path_factory.mktemp("containers")
    written = EXAMPLE.read_text().replace("\nPOSTGRES_PASSWORD=\n", f"\nPOSTGRES_PASSWORD='{PASSWORD}'\n")
    compose = load_compose({**read_env(written, {}), "LOG_LEVEL": "warn"})
    tmp_path.chmod(0o755)
    async with Engine(compose, tmp_path) as engine:
        await start_postgres(engine, tmp_path)
        migrate = await engine.run("migrate")
        assert migrate.child is not None
        assert await migrate.child.wait() == 0, migrate.said.read_text()
        for service, count in SCALE.items():
            for _ in range(count):
                await engine.run(service)
        await asyncio.gather(*(healthy(engine, each) for service in SCALE for each in engine.of(service)))
        yield engine


async def healthy(engine: Engine, container: Container) -> None:
    """Wait until the container's own health check says so."""
    _, *check = engine.compose["services"][container.service]["healthcheck"]["test"]

    async def passes() -> bool:
        container.lives()
        return await engine.execute(container, check) == 0

    await wait_until(passes, deadline_s=90, what=f"{container.service} to be healthy")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(engine: Engine) -> str:
    """The reverse proxy, where it is published."""
    return f"http://127.0.0.1:{await engine.publish(engine.of('server')[0], 8080)}"


async def mint(url: str, device_type: str, device_id: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{url}/api/v1/admin/tokens", json={"device_type": device_type, "device_id": device_id}
        ) as answer,
    ):
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["token"])


async def connections(url: str) -> dict[str, list[int]]:
    """Return the open device sockets of each process, by role."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/api/v1/processes") as answer,
    ):
        processes = (await answer.json())["processes"] if answer.status == 200 else []
    found: dict[str, list[int]] = {}
    for process in processes:
        found.setdefault(process["role"], []).append(process["connections"])
    return {role: sorted(counts) for role, counts in found.items()}


async def test_every_process_is_nobody_without_privileges_on_a_root_that_cannot_be_written(
    engine: Engine,
) -> None:
    for container in [each for service in SCALE for each in engine.of(service)]:
        status = Path(f"/proc/{container.pid}/status").read_text()  # noqa: ASYNC240 (not a disk's)
        assert re.search(r"^Uid:(\s+10001){4}$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert len(re.findall(r"^Cap(Prm|Eff|Bnd|Amb|Inh):\s+0{16}$", status, re.MULTILINE)) == 5
        assert await engine.execute(container, ["touch", "/etc/written"]) != 0
        assert await engine.execute(container, ["touch", "/tmp/written"]) == 0


async def test_nothing_is_reached_that_should_not_be(engine: Engine, url: str) -> None:
    database = engine.of("postgres")[0].addresses["database"]
    gateway, proxy = engine.of("gateway")[0], engine.of("server")[0]

    def reaches(container: Container, host: str, port: int, within_s: float = 1) -> bool:
        def connect() -> bool:
            try:
                socket.create_connection((host, port), within_s).close()
            except OSError:
                return False
            return True

        return in_namespace(container.namespace, connect)

    assert reaches(gateway, database, 5432, within_s=30)
    assert not reaches(proxy, database, 5432)
    assert reaches(proxy, gateway.addresses["front"], 8080, within_s=30)
    assert not reaches(engine.of("writer")[0], gateway.addresses["front"], 8080)
    # No service has a way out: its networks lead nowhere else.
    assert not in_namespace(gateway.namespace, lambda: "00000000\t" in routes())


async def test_this_machine_needs_no_token_and_no_page_of_another_name_is_admitted(url: str) -> None:
    """What the runbook asks, word for word, at http://localhost:8080."""
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/api/v1/streams", "/api/v1/admin/tokens"):
            async with http.get(url + path, headers={"Host": "localhost:8080"}) as answer:
                assert answer.status == 200, path
        for path, status in (("/readyz", 200), ("/api/v1/streams", 200), ("/metrics", 403), ("/", 403)):
            async with http.get(url + path, headers={"Host": "evil.example:8080"}) as answer:
                assert answer.status == status, path


async def answers(url: str, path: str) -> bool:
    status, _ = await asked(url, path)
    return status == 200


def routes() -> str:
    """Return the network's routes, the part of each that says whereto: 00000000 is anywhere."""
    return "".join(
        line.split("\t")[1] + "\t"
        for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    )


async def test_a_service_is_admitted_with_its_own_password_only(engine: Engine) -> None:
    gateway = engine.of("gateway")[0]
    assert await engine.execute(gateway, ["test", "-r", "/mnt/passwords/gateway/pgpass"]) == 0
    assert await engine.execute(gateway, ["test", "-e", "/mnt/passwords/writer"]) != 0
    passwords = {
        service: (engine.directory / "volumes" / f"{service}-password" / "pgpass")
        .read_text()
        .strip()
        .rpartition(":")[2]
        for service in ("gateway", "writer")
    }
    host = engine.of("postgres")[0].addresses["database"]

    async def connect(user: str, password: str | None) -> None:
        connection = await asyncpg.connect(
            host=host, user=user, password=password, database="rtserver", timeout=60
        )
        await connection.close()

    def from_the_gateway(user: str, password: str | None) -> None:
        in_namespace(gateway.namespace, lambda: asyncio.run(connect(user, password)))

    await asyncio.to_thread(from_the_gateway, "rt_gateway", passwords["gateway"])
    for user, password in (
        ("rt_writer", passwords["gateway"]),
        ("rtserver", passwords["gateway"]),
        ("rt_gateway", ""),
    ):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncio.to_thread(from_the_gateway, user, password)


async def crew(url: str) -> tuple[list[Forwarder], list[Receiver]]:
    """Return four forwarders and four receivers of all of them, with tokens made through the acceptor."""
    readers = {f"mat-{number}": f"10.0.0.{number}:10000" for number in range(4)}
    forwarders = [
        Forwarder(
            url=url,
            token=await mint(url, "forwarder", device_id),
            device_id=device_id,
            readers=[reader],
            backoff_s=(0.05, 0.5),
        )
        for device_id, reader in readers.items()
    ]
    receivers = [
        Receiver(
            url=url,
            token=await mint(url, "receiver", f"tent-{number}"),
            streams=list(readers.items()),
            manners=AT_ONCE,
        )
        for number in range(4)
    ]
    return forwarders, receivers


async def test_reads_pass_the_proxy_spread_over_all_processes_and_survive_one_that_stops(
    engine: Engine, url: str
) -> None:
    forwarders, receivers = await crew(url)

    async def spread() -> bool:
        found = await connections(url)
        return found["gateway"] == found["fanout"] == [2, 2]

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(stretched(60)):
        for forwarder in forwarders:
            tasks.create_task(forwarder.run())
        for receiver in receivers:
            tasks.create_task(receiver.run())
        await wait_until(spread, what="two devices at each gateway and fanout")
        for forwarder in forwarders * 100:
            forwarder.record(forwarder.readers[0], f"line {forwarder.recorded}")
        grace = float(engine.compose["services"]["gateway"]["stop_grace_period"].removesuffix("s"))
        stopped = engine.of("gateway")[0]
        assert await stopped.stop(within_s=grace) == 0
        await asyncio.gather(*(forwarder.drained() for forwarder in forwarders))
        await asyncio.gather(*(receiver.wait_for(400) for receiver in receivers))
        await asyncio.gather(*(each.stop() for each in forwarders), *(each.stop() for each in receivers))
    # Whoever comes next finds all of them, whatever the order of the tests.
    await engine.start(stopped)
    await healthy(engine, stopped)
    sent = [(n + 1, f"line {n}") for n in range(100)]
    for receiver in receivers:
        assert len(receiver.events) == len(forwarders)
        assert all(arrived == sent for arrived in receiver.events.values())


# --- the user's runbook, as it is typed --------------------------------------------------------------------


def with_all_before(engine: Engine, services: Sequence[str]) -> list[str]:
    """Return services and all that they depend on, each after those, as compose starts them."""
    found: list[str] = []
    for name in services:
        before = with_all_before(engine, [*engine.compose["services"][name].get("depends_on", ())])
        found += [each for each in (*before, name) if each not in found and each != "migrate"]
    return found


async def typed(engine: Engine, command: str) -> str:
    """Do what compose does at a command of the runbook, and return what it prints of it."""
    subcommand, *words = command.split()
    services = [word for word in words if not word.startswith("-")]
    assert {*services} <= engine.compose["services"].keys(), f"no such service: {command}"
    order = with_all_before(engine, [*engine.compose["services"]])
    if subcommand == "logs":
        (tail,) = [int(word.removeprefix("--tail=")) for word in words if word.startswith("--tail=")]
        return "\n".join(
            line
            for name in services
            for each in engine.of(name)
            for line in each.said.read_text().splitlines()[-tail:]
        )
    if subcommand in ("restart", "down"):
        for name in reversed(services or order):
            codes = await asyncio.gather(*(engine.stop(each) for each in engine.of(name)))
            assert {*codes} == {0}, (name, codes)
    if subcommand in ("restart", "up"):
        for name in with_all_before(engine, services or order) if subcommand == "up" else services:
            for each in engine.of(name):
                if each.child is None or each.child.returncode is not None:
                    await engine.start(each)
                await (up(each) if name == "postgres" else healthy(engine, each))
    assert subcommand in ("ps", "restart", "down", "up"), command
    return "\n".join(
        f"{each.service} {'up' if each.child and each.child.returncode is None else 'exited'}"
        for name in order
        for each in engine.of(name)
    )


async def asked(url: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url + path) as answer:
        return answer.status, await answer.text()


async def test_the_commands_of_the_runbook_do_what_it_says_and_no_read_is_lost_by_any(
    engine: Engine, url: str
) -> None:
    """restart server, restart postgres, down and up -d, up -d server: after each a device that was there before goes on
    with the token that it had, everything that was stored is, and what the runbook asks is answered.
    """
    reader = "10.0.9.1:10000"
    forwarder = Forwarder(
        url=url,
        token=await mint(url, "forwarder", "finish"),
        device_id="finish",
        readers=[reader],
        backoff_s=(0.05, 0.5),
    )
    running = asyncio.create_task(forwarder.run())
    commands = ("restart server", "restart postgres", "down", "up -d", "up -d server")
    for number, command in enumerate(commands, 1):
        forwarder.record(reader, f"before {command}")
        if command == "up -d server":
            await asyncio.gather(*(engine.stop(engine.of(name)[0]) for name in ("server", "api")))
        printed = await typed(engine, command)
        if command == "down":
            assert "up" not in printed.split()
            continue
        await wait_until(lambda: forwarder.acked == number, deadline_s=60, what=f"acks after {command}")  # noqa: B023
        assert "exited" not in await typed(engine, "ps")
        for path in ("/healthz", "/readyz", "/api/v1/streams"):
            # A process that was cut off from its database is not ready until it listens again.
            await wait_until(partial(answers, url, path), what=f"{path} to answer after {command}")
        _, text = await asked(url, "/api/v1/overview")
        (stream,) = [each for each in json.loads(text)["streams"] if each["forwarder_id"] == "finish"]
        _, text = await asked(url, f"/api/v1/streams/{stream['stream_id']}/export.txt")
        assert text.splitlines() == [f"before {each}" for each in commands[:number]]
    running.cancel()
    said = await typed(engine, "logs server --tail=50")
    assert len(said.splitlines()) <= 50
