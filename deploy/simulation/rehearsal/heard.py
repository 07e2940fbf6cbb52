"""Which alerts the server has of a rehearsal's devices, and when each could be seen; nothing of anybody else's."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from deploy.simulation.demo.crew import Crew
from deploy.simulation.demo.server import Server, ServerError
from deploy.simulation.rehearsal.faults import Fault, Kind

__all__ = ["Answered", "Heard", "answered"]

_ASK_EVERY_S = 0.5
# Which signals tell of a fault (api/alerts/rules/). Of what is sent twice there is nothing to tell.
TELLS: dict[Kind, tuple[str, ...]] = {
    "cut": ("forwarder_gone", "last_read"),
    "killed": ("forwarder_gone", "last_read"),
    "clock": ("clock",),
    "twice": (),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it was first seen; of: the device that it is about."""

    seen_at: float
    signal: str
    of: str
    title: str
    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A fault with the alerts that told of it, the first before all."""

    fault: Fault
    subject: str
    struck_at: float
    alerts: Sequence[Alert]


@dataclass
class Heard:
    """The alerts of a crew's devices, by id, as they were first seen."""

    server: Server
    crew: Crew
    alerts: dict[int, Alert] = field(default_factory=dict)

    async def run(self) -> None:
        """Ask again and again; while the server does not answer nothing is heard, which is late by as much."""
        while True:
            with suppress(ServerError):
                await self._ask()
            await asyncio.sleep(_ASK_EVERY_S)

    async def _ask(self) -> None:
        streams = {stream_id: device for (device, _), stream_id in (await self.server.streams()).items()}
        ours = {each.device_id for each in self.crew.forwarders} | {
            each.receiver_id for each in self.crew.receivers
        }
        now = time.time()
        for each in (await self.server.get("/api/v1/alerts"))["alerts"]:
            of = _device(each, streams)
            if of in ours:
                alert = Alert(now, each["signal"], of, each["title"], each["level"], each["reason"])
                self.alerts.setdefault(each["trouble_id"], alert)


def _device(alert: dict[str, Any], streams: dict[str, str]) -> str:
    """Return the device that an alert is about, of a stream its forwarder."""
    return str(streams.get(alert["stream_id"] or "", alert["subject_id"]))


def answered(
    struck: Sequence[tuple[Fault, float]], subjects: Sequence[str], alerts: Sequence[Alert]
) -> tuple[list[Answered], list[Alert]]:
    """Return the faults with the alerts that told of them, and the alerts that told of none. subjects: the device of
    each fault.
    """
    # Until the next one begins: what is told then is of that.
    ends = [*(at for _, at in struck), float("inf")][1:]
    found = [
        Answered(fault, subject, at, [*_told(fault, subject, at, until, alerts)])
        for (fault, at), subject, until in zip(struck, subjects, ends, strict=True)
    ]
    told = {id(alert) for each in found for alert in each.alerts}
    return found, [alert for alert in alerts if id(alert) not in told]


def _told(fault: Fault, subject: str, at: float, until: float, alerts: Sequence[Alert]) -> Iterator[Alert]:
    for alert in sorted(alerts, key=lambda each: each.seen_at):
        if alert.signal in TELLS[fault.kind] and alert.of == subject and at <= alert.seen_at < until:
            yield alert
