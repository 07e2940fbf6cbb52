"""One process of a role, as a slot runs it.

Knows how a role is told what to do (environment) and how it says that it is ready (`/readyz`).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from signal import Signals

import aiohttp

from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.child import Child, ends_with_parent, start_child


class RoleProcess:
    """The program `argv`, listening on a loopback port that it keeps across restarts."""

    stop_signals = (Signals.SIGTERM, Signals.SIGKILL)

    def __init__(
        self, argv: Sequence[str], *, log: Path, environment: Mapping[str, str], http: aiohttp.ClientSession
    ) -> None:
        self.address = ""
        self._argv = argv
        self._log = log
        self._environment = environment
        self._http = http
        self._was_ready = False

    async def launch(self) -> Child:
        """Start the process."""
        if not self._was_ready:
            # Nobody knows the address yet, and somebody else may have taken the port since it was found free.
            self.address = f"{LOOPBACK}:{free_port()}"
        environment = {**self._environment, "BIND_ADDR": self.address}
        argv = ends_with_parent(self._argv, Signals.SIGKILL)
        return await start_child(argv, log=self._log, environment=environment)

    async def answers(self) -> bool:
        """Whether it says that it is ready."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(f"http://{self.address}/readyz") as answer:
                if answer.status == HTTPStatus.OK:
                    self._was_ready = True
                    return True
        return False
