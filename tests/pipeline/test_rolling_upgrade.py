"""All processes are replaced one by one while reads keep coming: the new one first, then the old one is stopped."""

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from deploy.simulation.devices.connection import UNREACHABLE
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.roles import ROLES
from tests.deploy.names import NameServer
from tests.failure.facts import Database
from tests.failure.fleet import Fleet, fleet
from tests.ports import free_port
from tests.services import Process, make_token
from tests.waiting import wait_until

FORWARDERS, RECEIVERS = 2, 4
PORT = free_port()
ACKED_MEANWHILE = 50  # so many more before the next process is replaced

# Who is connected to living processes, and to which.
_CONNECTED = """
SELECT forwarder_id AS device, address
FROM live_forwarder_sessions JOIN processes ON process_id = gateway_id
UNION
SELECT receiver_id, address
FROM live_receiver_sessions JOIN processes ON process_id = fanout_id
"""


@dataclass
class Replica(Process):
    """A process on a loopback address of its own, all at one port, as containers are."""

    host: str = ""

    def __post_init__(self) -> None:
        self.environment = {"BIND_ADDR": f"{self.host}:{PORT}", "LOG_LEVEL": "warn"}

    @property
    def url(self) -> str:
        return f"http://{self.host}:{PORT}"


@dataclass
class Cluster:
    """Two processes of each role, found by name through a reverse proxy."""

    database_url: str
    processes: dict[str, list[Replica]] = field(default_factory=lambda: {role: [] for role in ROLES})
    asked: "Counter[str]" = field(default_factory=Counter)
    closed: "Counter[str]" = field(
        default_factory=Counter
    )  # how often a device was on a process that was stopped
    url: str = ""
    _numbers: "count[int]" = field(default_factory=lambda: count(2))

    def look_up(self, name: str) -> list[str]:
        self.asked[name] += 1
        return [each.host for each in self.processes.get(name, ())]

    async def start(self, role: str) -> None:
        """Start one more process of a role; the acceptor finds it by the next question."""
        replica = Replica(role, self.database_url, {}, host=f"127.0.0.{next(self._numbers)}")
        await replica.start()
        self.processes[role].append(replica)
        await replica.ready()

    async def stop(self, role: str, database: Database) -> None:
        """Stop the oldest process of a role in order, when every device is connected to one."""
        old = self.processes[role][0]
        connected = await wait_until(lambda: all_connected(database), what="all devices to be connected")
        self.closed.update(device for device, address in connected if address == f"{old.host}:{PORT}")
        old.signal(signal.SIGTERM)
        assert await old.ended() == 0
        self.processes[role].remove(old)

    async def replace(self, role: str, database: Database) -> None:
        """Start the new process, let the acceptor know it, stop the old one."""
        await self.start(role)
        asked = self.asked[role]
        async with aiohttp.ClientSession(self.url) as http:

            async def known() -> bool:
                for path in ("/ws/v1/forwarders", "/ws/v1/receivers", "/api/v1/streams"):
                    async with http.get(path) as answer:
                        await answer.read()
                return self.asked[role] > asked or role == "writer"

            await wait_until(known, what=f"the proxy to ask who {role} is")
        await self.stop(role, database)

    async def kill(self) -> None:
        for replica in [each for processes in self.processes.values() for each in processes]:
            if replica.child is not None and replica.child.returncode is None:
                await replica.kill()


async def all_connected(database: Database) -> list[tuple[str, str]]:
    """Return which process each device is connected to; nothing while one is connected to none, or to two."""
    found = [(row["device"], row["address"]) for row in await database.fetch(_CONNECTED)]
    devices = {device for device, _ in found}
    return found if len(found) == len(devices) == FORWARDERS + RECEIVERS else []


@pytest.fixture
async def cluster(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as running:
        cluster = Cluster(database_url)
        running.push_async_callback(cluster.kill)
        await asyncio.gather(*(cluster.start(role) for role in ROLES for _ in range(2)))
        names = NameServer(cluster.look_up)
        listening = socket.socket(type=socket.SOCK_DGRAM)
        listening.bind(("127.0.0.1", 0))
        await names.start(listening)
        running.callback(names.stop)
        monkeypatch.setenv("UPSTREAMS", "named")
        monkeypatch.setenv("DNS", f"resolvers {names.address}")
        replicas = {role: [role, str(PORT)] for role in ("gateway", "fanout", "api")}
        proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: replicas)
        child = await proxy.launch()
        running.push_async_callback(child.stop, proxy.stop_signals, within_s=5)
        assert await until_answering(child, proxy.answers), child.last_lines(5)
        cluster.url = proxy.url
        yield cluster


async def come_back(receiver: Receiver) -> None:
    """Keep a receiver connected as those in the field do."""
    while True:
        try:
            await receiver.run()
        except UNREACHABLE:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def tent(cluster: Cluster, database: Database, forwarders: Fleet) -> AsyncIterator[list[Receiver]]:
    """Run four receivers of everything."""
    streams = [(device.device_id, reader) for device in forwarders.devices for reader in device.readers]
    receivers = [
        Receiver(
            url=cluster.url,
            token=await make_token(database, "receiver", f"tent-{number}"),  # a cursor belongs to an id
            streams=streams,
            keep=False,
            manners=AT_ONCE,
        )
        for number in range(RECEIVERS)
    ]
    running = [asyncio.create_task(come_back(each)) for each in receivers]
    try:
        await asyncio.gather(*(each.wait_connected() for each in receivers))
        yield receivers
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def asking(url: str) -> AsyncIterator["Counter[int]"]:
    """Ask for the streams all the time, as receivers do; counts the answers by status."""
    statuses: Counter[int] = Counter()

    async def ask() -> None:
        async with aiohttp.ClientSession(url) as http:
            while True:
                async with http.get("/api/v1/streams") as answer:
                    statuses[answer.status] += 1
                await asyncio.sleep(0.02)

    task = asyncio.create_task(ask())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def recorded(forwarders: Fleet) -> int:
    return sum(device.recorded for device in forwarders.devices)


async def replace_all(cluster: Cluster, forwarders: Fleet, database: Database) -> None:
    """Replace both processes of each role, each after some more reads were acked."""
    for role in ROLES * 2:
        goal = forwarders.acked + ACKED_MEANWHILE
        await wait_until(
            lambda goal=goal: forwarders.acked > goal,  # type: ignore[misc]
            what=f"acks before a {role} is replaced",
        )
        await cluster.replace(role, database)


async def test_replacing_every_process_loses_and_doubles_nothing_and_closes_nobody_but_its_devices(
    cluster: Cluster, database: Database
) -> None:
    async with (
        fleet(database, cluster.url, count=FORWARDERS, readers=1) as forwarders,
        tent(cluster, database, forwarders) as receivers,
        asking(cluster.url) as statuses,
    ):
        async with forwarders.racing():
            await replace_all(cluster, forwarders, database)
        await forwarders.drained()
        reads = recorded(forwarders)
        await wait_until(
            lambda: all(each.received >= reads for each in receivers),
            deadline_s=20,
            what=f"all receivers to have all {reads} reads",
        )
        await forwarders.whole(database)
        check_arrivals(receivers, reads)
        assert statuses.keys() == {200}
        # Most of the time each is closed once: the proxy leads it to the newcomer, which has no connections yet. One
        # that was led to the other old process, because the newcomer was busy, is closed with that.
        reconnects = {device.device_id: device.reconnects for device in forwarders.devices}
        reconnects |= {f"tent-{number}": each.sessions - 1 for number, each in enumerate(receivers)}
        assert {name: count for name, count in reconnects.items() if count != cluster.closed[name]} == {}


def check_arrivals(receivers: Sequence[Receiver], reads: int) -> None:
    """Check that each receiver has every read, and none twice in a connection."""
    for receiver in receivers:
        epochs = receiver.arrivals.epochs.values()
        assert receiver.received == reads == sum(epoch.through for epoch in epochs)
        assert not any(epoch.ahead or epoch.twice or epoch.backward for epoch in epochs)
