"""Puts the gateway together: one route, the sessions behind it, staging, ownership and commands.

socket ─▶ Session ─▶ Batch ─▶ Staging ──────▶ inbox ··· outcomes ─▶ Staging ─▶ Session ─▶ ack
commands ─▶ Commands ─▶ Session ─▶ socket ··· socket ─▶ Session ─▶ Commands ─▶ commands
"""

import gc
from time import monotonic

from aiohttp import web

from gateway.brake import Brake
from gateway.commands import Commands
from gateway.devices import DeviceStates
from gateway.memory import Memory
from gateway.ownership import Ownership
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.staging import Staging
from shared.runtime.database_clock import clock_is_kept
from shared.runtime.liveness import Vitals
from shared.runtime.process import Process
from shared.transport.acceptor import Acceptor
from shared.transport.account import Account
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity

__all__ = ["Gateway", "main"]

FORWARDERS_PATH = "/ws/v1/forwarders"

# What a read makes is gone with its ack, hardly ever in a circle. By Python's defaults the collector looks for circles
# hundreds of times a second, while acks are due.
GC_THRESHOLDS = (10_000, 20, 20)


class Gateway:
    """The ingest process."""

    def __init__(self, settings: GatewaySettings) -> None:
        gc.set_threshold(*GC_THRESHOLDS)
        self.process = Process(
            "gateway",
            settings,
            vitals=lambda: Vitals(
                connections=len(self.acceptor.connections),
                clock_kept=settings.clock_kept or clock_is_kept(),
            ),
            counts=("events_in",),
            on_return=self._doubt,
            # What waits longer waits for an administrator: sessions must not hold the whole pool for that.
            pool_settings={"lock_timeout": "2s"},
        )
        self.account = Account(settings.max_unacked_mib * 1024 * 1024)
        self.ownership = Ownership(self.process)
        self._commands = Commands(self.process, self.account)
        self.devices = DeviceStates(self.process, self.account)
        self._brake = Brake()
        self._max_readers = settings.max_readers
        self._max_epochs = settings.max_epochs
        self.acceptor = Acceptor(
            self.process,
            "forwarder",
            self._attend,
            account=self.account,
            braked_s=lambda token_id: self._brake.left_s(token_id, now=monotonic()),
        )
        self.staging = Staging(self.process, self.account)
        self._memory = Memory(self.process, self.staging)

    async def run(self) -> None:
        """Live until a signal comes."""
        app = web.Application()
        app.router.add_get(FORWARDERS_PATH, self.acceptor.connect)
        await self.process.run(
            app=app,
            before=self.staging.prepare,
            tasks={
                "acceptor": self.acceptor.run,
                "staging": self.staging.run_staging,
                "collecting": self.staging.run_collecting,
                "ownership": self.ownership.run,
                "commands": self._commands.run,
                "devices": self.devices.run,
                "memory": self._memory.run,
            },
            shut=self.acceptor.close,
        )

    def _doubt(self) -> None:
        """We counted as dead for a while: others may have taken our sessions, and thrown our outcomes away."""
        self.ownership.doubt()
        self.staging.doubt("gateway_returned")

    async def _attend(self, connection: DeviceConnection, identity: Identity) -> None:
        session = Session(
            connection,
            identity,
            process=self.process,
            ownership=self.ownership,
            staging=self.staging,
            commands=self._commands,
            devices=self.devices,
            brake=self._brake,
            max_readers=self._max_readers,
            max_epochs=self._max_epochs,
        )
        await session.run()


async def main(settings: GatewaySettings) -> None:
    """Run a gateway."""
    await Gateway(settings).run()
