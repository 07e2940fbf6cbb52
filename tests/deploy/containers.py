"""The services of the compose file as a container engine would run them, without one: each in network and mount
namespaces of its own, on the networks that the file gives it, as its user, without capabilities, on a read-only root.

What it does not have of a container: an image. The programs are those of this checkout, found where they lie.
"""

import asyncio
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
from asyncio.subprocess import Process as Child
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, TypeVar

from deploy.local.child import ends_with_parent
from deploy.local.reverse_proxy import CADDYFILE, caddy
from tests.deploy.names import NameServer
from tests.waiting import stretched

__all__ = ["Container", "Engine", "why_not"]

T = TypeVar("T")

TOP = Path(__file__).parents[2]
_LAST_LINES = 20  # of what a container said that has ended
RESOLVER = "127.0.0.11"  # as the one best known has it
# What an engine whose client is configured to go through a proxy gives every container: there is no way to this one.
PROXIED = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), "http://192.0.2.1:3128")

# Run by root in a mount namespace of the container's own. $1: keeps what stands in its way visible: directories that
# the programs need below one that is closed or covered. Volumes are bound below /mnt, for / has no place for them.
_ENTER = """
set -e
mount -t tmpfs none /mnt
mkdir -p /mnt/kept
number=0
for path in $KEPT; do
    number=$((number + 1)); mkdir /mnt/kept/$number; mount --rbind "$path" /mnt/kept/$number
done
for volume in $VOLUMES; do
    mkdir -p "/mnt${volume#*:}"; mount --bind "${volume%%:*}" "/mnt${volume#*:}"
done
mount --bind "$RESOLV_CONF" /etc/resolv.conf
for path in $COVERED; do mount -t tmpfs -o mode=755 none "$path"; done
mount -t tmpfs -o mode=1777 none /tmp
number=0
for path in $KEPT; do
    number=$((number + 1)); mkdir -p "$path"; mount --rbind /mnt/kept/$number "$path"
done
mount -o remount,bind,ro /
unset KEPT VOLUMES COVERED RESOLV_CONF
cd /
exec "$@"
"""
_CONFINED = (
    "--reuid=10001",
    "--regid=10001",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--no-new-privs",
)


def why_not() -> str | None:
    """Return why there can be no containers here, or None."""
    if os.geteuid() != 0:
        return "they are root's to make"
    if not all(shutil.which(program) for program in ("ip", "nsenter", "unshare", "setpriv")):
        return "`apt-get install iproute2 util-linux`"
    probe = f"rt{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "none can be made here, as in a container without CAP_SYS_ADMIN"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


@dataclass
class Container:
    """One process in its namespaces; its addresses by network."""

    service: str
    namespace: str
    addresses: dict[str, str]
    child: Child | None = None
    said: Path = Path(os.devnull)
    # How it was started, and so is again.
    argv: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def lives(self) -> None:
        """AssertionError when its process has ended: whoever waits for something of it would do so in vain."""
        assert self.child is not None
        if self.child.returncode is not None:
            last = "\n".join(self.said.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            raise AssertionError(f"{self.service} ended with {self.child.returncode}; it said last:\n{last}")

    async def stop(self, *, within_s: float, by: Signals = Signals.SIGTERM) -> int:
        """Send a signal and return the exit code; TimeoutError when it takes longer than it is given."""
        assert self.child is not None
        if self.child.returncode is None:
            self.child.send_signal(by)
        async with asyncio.timeout(stretched(within_s)):
            return await self.child.wait()


@dataclass
class Engine:
    """Networks and containers of one compose file (`load_compose`); everything is gone after `async with`."""

    compose: dict[str, Any]
    directory: Path
    containers: list[Container] = field(default_factory=list)
    _names: str = field(default_factory=lambda: f"rt{os.getpid()}")
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(2))
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> "Engine":
        self._switch = f"{self._names}-switch"
        self._make_namespace(self._switch)
        for network in self._networks:
            _ip("-n", self._switch, "link", "add", network, "type", "bridge")
            _ip("-n", self._switch, "link", "set", network, "up")
        return self

    async def __aexit__(self, *_: object) -> None:
        for container in self.containers:
            if container.child is not None and container.child.returncode is None:
                container.child.kill()
                await container.child.wait()
        await self._exits.aclose()

    @property
    def _networks(self) -> list[str]:
        """The internal networks: what leads outside is published, and nothing more."""
        return [name for name, network in self.compose["networks"].items() if network]

    def of(self, service: str) -> list[Container]:
        """Return the containers of a service that have been started."""
        return [each for each in self.containers if each.service == service]

    async def run(
        self, service: str, argv: Sequence[str] | None = None, *, confined: bool = True
    ) -> Container:
        """Start one container of a service: with its own command, or with `argv`."""
        described = self.compose["services"][service]
        container = self._make_container(
            service, [name for name in described["networks"] if name in self._networks]
        )
        await self._start_resolver(container)
        environment = {"PATH": os.environ["PATH"], **PROXIED, **described.get("environment", {})}
        if confined:
            argv = ["setpriv", *_CONFINED, "--", *(argv or _command(described))]
            argv = ["unshare", "--mount", "sh", "-c", _ENTER, "sh", *argv]
            environment |= self._mounts(described)
        container.argv = ends_with_parent(self._inside(container, argv or []), Signals.SIGKILL)
        container.environment = {name: _moved(value) for name, value in environment.items()}
        await self.start(container)
        return container

    async def start(self, container: Container) -> None:
        """Start a container's program, where it was before if it has ended; what it says comes after what it said."""
        with container.said.open("ab") as said:
            container.child = await asyncio.create_subprocess_exec(
                *container.argv, env=container.environment, stdout=said, stderr=said
            )

    async def stop(self, container: Container) -> int:
        """Stop a container as compose does: with the signal of its image, in the time that the file gives it."""
        grace = self.compose["services"][container.service].get("stop_grace_period", "10s")
        by = Signals.SIGINT if container.service == "postgres" else Signals.SIGTERM
        return await container.stop(within_s=float(grace.removesuffix("s")), by=by)

    async def execute(self, container: Container, argv: Sequence[str]) -> int:
        """Run a program in a container's namespaces, as its user, and return the exit code."""
        enter = [
            "nsenter",
            # By its name, not by the process: one that has just begun is not in it yet, and what it is asked would be
            # answered by whoever listens on this machine.
            f"--net=/run/netns/{container.namespace}",
            f"--target={container.pid}",
            "--mount",
            "--",
            "setpriv",
            *_CONFINED,
            "--",
        ]
        child = await asyncio.create_subprocess_exec(*enter, *_located(argv), env={**os.environ, **PROXIED})
        return await child.wait()

    async def publish(self, container: Container, port: int) -> int:
        """Return a port of the loopback that leads to a port of the container."""

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inside = await asyncio.to_thread(
                in_namespace, container.namespace, lambda: socket.create_connection(("127.0.0.1", port))
            )
            inside.setblocking(False)
            back, forth = await asyncio.open_connection(sock=inside)
            await asyncio.gather(_pipe(reader, forth), _pipe(back, writer))

        server = await asyncio.start_server(forward, "127.0.0.1", 0)
        self._exits.callback(server.close)
        found: int = server.sockets[0].getsockname()[1]
        return found

    # --- the parts of a container ---

    def _make_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._exits.callback(_ip, "netns", "del", name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _make_container(self, service: str, networks: Sequence[str]) -> Container:
        number = next(self._numbers)
        said = self.directory / f"{service}-{number}.log"
        container = Container(service, f"{self._names}-{number}", {}, said=said)
        self._make_namespace(container.namespace)
        for network in networks:
            address = f"10.77.{self._networks.index(network)}.{number}"
            cable = f"{network[:8]}{number}"
            connection = ("peer", "name", network, "netns", container.namespace)
            _ip("-n", self._switch, "link", "add", cable, "type", "veth", *connection)
            _ip("-n", self._switch, "link", "set", cable, "master", network, "up")
            _ip("-n", container.namespace, "address", "add", f"{address}/24", "dev", network)
            _ip("-n", container.namespace, "link", "set", network, "up")
            container.addresses[network] = address
        self.containers.append(container)
        return container

    async def _start_resolver(self, container: Container) -> None:
        """Answer the container's questions for names: with addresses on the networks that it is on."""

        def look_up(name: str) -> list[str]:
            running = [each for each in self.of(name) if each.child is None or each.child.returncode is None]
            networks = [
                network for network in container.addresses for each in running if network in each.addresses
            ]
            return [each.addresses[networks[0]] for each in running] if networks else []

        def bind() -> socket.socket:
            bound = socket.socket(type=socket.SOCK_DGRAM)
            bound.bind((RESOLVER, 53))
            return bound

        server = NameServer(look_up)
        await server.start(await asyncio.to_thread(in_namespace, container.namespace, bind))
        self._exits.callback(server.stop)

    def _inside(self, container: Container, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{container.namespace}", "--", *argv]

    def _mounts(self, described: Mapping[str, Any]) -> dict[str, str]:
        """Return what _ENTER is to mount."""
        volumes = []
        for volume in described.get("volumes", ()):
            name, target = volume.split(":")[:2]
            source = self.directory / "volumes" / name
            if not source.exists():
                source.mkdir(mode=0o700, parents=True)
                os.chown(source, 10001, 10001)
            volumes.append(f"{source}:{target}")
        resolv_conf = self.directory / "resolv.conf"
        resolv_conf.write_text(f"nameserver {RESOLVER}\n")
        needed = {str(TOP), sys.prefix, sys.base_prefix, str(caddy().resolve().parents[1])}
        closed = {first for each in needed if (first := _first_closed(Path(each)))}
        kept = sorted(each for each in needed if _first_closed(Path(each)) or each.startswith("/tmp/"))
        return {
            "KEPT": " ".join(kept),
            "COVERED": " ".join(sorted(closed)),
            "VOLUMES": " ".join(volumes),
            "RESOLV_CONF": str(resolv_conf),
        }


def in_namespace(name: str, act: Callable[[], T]) -> T:
    """Do something in a network namespace, in a thread of its own: sockets stay where they were made."""

    def moved() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{name}") as namespace:
            if libc.setns(namespace.fileno(), 0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")
        return act()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(moved).result()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _first_closed(path: Path) -> str | None:
    """Return the outermost directory on the way that others may not pass, other than what a container covers anyway."""
    for each in (*reversed(path.parents), path):
        if not each.stat().st_mode & 0o001:
            return str(each)
    return None


def _command(described: Mapping[str, Any]) -> list[str]:
    return _located([*described.get("entrypoint", ["rt-server"]), *described.get("command", [])])


def _located(argv: Sequence[str]) -> list[str]:
    """Return a command of the image with its programs and files where they lie here."""
    places = {
        "rt-server": [sys.executable, "-P", "-m", "deploy"],
        "python": [sys.executable],
        "caddy": [str(caddy())],
    }
    files = {"/etc/rt-server/Caddyfile": str(CADDYFILE)}
    return [*places.get(argv[0], [argv[0]]), *(files.get(each, each) for each in argv[1:])]


def _moved(value: str) -> str:
    """Return a setting with the places of volumes as they are here: below /mnt."""
    for target in ("/passwords", "/caddy"):
        value = value.replace(f"={target}", f"=/mnt{target}") if f"={target}" in value else value
        value = f"/mnt{value}" if value.startswith(target) else value
    return value


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
