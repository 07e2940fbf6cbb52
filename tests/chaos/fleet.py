"""Twenty forwarders and twelve receivers of both generations, each behind a link of its own that can misbehave, and the
load on them.

The load is its own probe: every read carries a number that rises, so the pipeline flows again when something
younger than a given moment has come from every forwarder, acked, to every receiver that is there to stay.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from deploy.simulation.devices.receiver import FIRST_GENERATION, SECOND_GENERATION, Manners
from tests.chaos.devices import (
    WANTED_EPOCHS,
    ComingAndGoing,
    NewerWatchedForwarder,
    NewerWatchedReceiver,
    ReplayingReceiver,
    WatchedForwarder,
    WatchedReceiver,
)
from tests.chaos.ledger import Event, Ledger
from tests.failure.link import Link, link

__all__ = ["Device", "Fleet", "Mint", "fleet"]

FORWARDERS, READERS, RECEIVERS = 20, 2, 12
# These stay; the others come and go.
STEADY_RECEIVERS = 4
# Of the others one follows a race, and one has epochs sent again and again.
RACE_RECEIVER, REPLAYING_RECEIVER = 10, 11
READS_PER_SECOND = 200
# Most read nothing for a moment only: just those that hang on a slow answer do so for seconds. These are waited for.
STEADY = Manners(unresponsive_s=0.5)
_TICK_S = 0.05
# What readers of newer forwarders end a line with, from one device to the next.
_LINE_ENDS = (b"\r\n", b"\n", b"", b"\r\n")

Device: TypeAlias = WatchedForwarder | WatchedReceiver
# Makes a token for (device_type, device_id); returns it and its id.
Mint: TypeAlias = Callable[[str, str], Awaitable[tuple[str, str]]]


@dataclass
class Fleet:
    """The devices and their links by name; made by `fleet`."""

    ledger: Ledger
    forwarders: list[WatchedForwarder]
    receivers: list[WatchedReceiver]
    links: dict[str, Link]
    random: Random
    number: int = 0

    @property
    def devices(self) -> list[Device]:
        """All of them."""
        return [*self.forwarders, *self.receivers]

    @property
    def steady(self) -> list[WatchedReceiver]:
        """The receivers that are there to stay."""
        return self.receivers[:STEADY_RECEIVERS]

    @property
    def replaying(self) -> WatchedReceiver:
        """The one that gets what is stored when it connects, and nothing that comes later."""
        return self.receivers[REPLAYING_RECEIVER]

    def wants(self, receiver: WatchedReceiver, epoch: int) -> bool:
        """Whether a receiver is to have the events of an epoch, of whatever stream."""
        chooses = (self.receivers[RACE_RECEIVER], self.replaying)
        return receiver not in chooses or epoch in WANTED_EPOCHS

    @property
    def events_delivered(self) -> int:
        """How many events came at all receivers."""
        return sum(receiver.events_seen for receiver in self.receivers)

    @property
    def connects(self) -> Counter[str]:
        """How often each device has tried to connect so far."""
        return Counter({name: way.taken for name, way in self.links.items()})

    def link_of(self, device: Device) -> Link:
        """Return the way that a device's connections take."""
        return self.links[name_of(device)]

    def mark(self) -> int:
        """Have each forwarder say one read, and return the number before them: what comes is younger."""
        before = self.number
        for forwarder in self.forwarders:
            self.say(forwarder)
        return before

    def missing(self, forwarders: Sequence[WatchedForwarder], since: int) -> list[Device]:
        """Return which of these have nothing acked that is younger than number `since`; and which of the receivers that
        are there to stay have nothing so young of all of these.
        """
        silent = [each for each in forwarders if each.watched.newest_acked <= since]
        lacking = [
            each for each in self.steady if any(each.newest[sent.device_id] <= since for sent in forwarders)
        ]
        return [*silent, *lacking]

    def stuck(self, since: int) -> list[Device]:
        """Return who has nothing younger than number `since` yet: acked, or received from every forwarder; and who
        has no other session yet than one whose token is revoked.
        """
        there: list[Device] = [*self.forwarders, *self.steady]
        kept = [each for each in there if 0 < each.sessions <= each.sessions_revoked]
        return [*self.missing(self.forwarders, since), *kept]

    def journals(self) -> dict[tuple[str, str], list[Event]]:
        """Return what was sent of each stream, by the journals that were never lost."""
        return {
            (each.device_id, reader_ip): each.journalled(reader_ip)
            for each in self.forwarders
            if each.device_id not in self.ledger.without_journal
            for reader_ip in each.readers
        }

    async def race(self) -> None:
        """Record reads at READS_PER_SECOND, taking turns, until cancelled."""
        clock = asyncio.get_running_loop().time
        began, said = clock(), 0
        while True:
            await asyncio.sleep(_TICK_S)
            due = int((clock() - began) * READS_PER_SECOND)
            # A machine that stood still for a while is not made to catch up all at once.
            for turn in range(max(said, due - READS_PER_SECOND), due):
                self.say(self.forwarders[turn % FORWARDERS])
            said = due

    async def come_and_go(self) -> None:
        """Close receivers and open them again until cancelled; then all are wanted."""
        comers = [
            ComingAndGoing(each, Random(self.random.random())) for each in self.receivers[STEADY_RECEIVERS:]
        ]
        await asyncio.gather(*(each.run() for each in comers))

    def say(self, forwarder: WatchedForwarder, reads: int = 1) -> None:
        """Have the readers of a forwarder say so many reads, in turns."""
        for _ in range(reads):
            self.number += 1
            forwarder.say(self.number, self.random)


def name_of(device: Device) -> str:
    """Return a device's id."""
    return device.device_id if isinstance(device, WatchedForwarder) else device.receiver_id


@asynccontextmanager
async def fleet(url: str, mint: Mint, random: Random, *, race_id: str) -> AsyncIterator[Fleet]:
    """Run the devices against the reverse proxy at `url`; all are off at the end."""
    async with AsyncExitStack() as stack:
        made = Fleet(Ledger(), [], [], {}, random)
        for number in range(FORWARDERS):
            name = f"mat-{number:02}"
            way = made.links[name] = await stack.enter_async_context(link(url))
            token, token_id = await mint("forwarder", name)
            readers = [f"10.1.{number}.{reader}:10000" for reader in range(READERS)]
            settings = {"url": way.url, "token": token, "token_id": token_id, "device_id": name}
            made.forwarders.append(_forwarder(number, **settings, readers=readers, ledger=made.ledger))
        streams = [(each.device_id, reader_ip) for each in made.forwarders for reader_ip in each.readers]
        for number in range(RECEIVERS):
            name = f"tent-{number:02}"
            way = made.links[name] = await stack.enter_async_context(link(url))
            token, token_id = await mint("receiver", name)
            settings = {"url": way.url, "token": token, "token_id": token_id, "receiver_id": name}
            made.receivers.append(_receiver(number, url, race_id, **settings, streams=streams))
        for device in made.devices:
            device.start()
        try:
            yield made
        finally:
            await asyncio.gather(*(device.off() for device in made.devices))
            for forwarder in made.forwarders:
                forwarder.journal.close()
            for receiver in made.receivers:
                receiver.arrivals.close()


def _forwarder(number: int, **settings: Any) -> WatchedForwarder:
    """Return one; every second is of the second generation."""
    if number % 2 == 0:
        return WatchedForwarder(**settings)
    return NewerWatchedForwarder(line_end=_LINE_ENDS[number // 2 % len(_LINE_ENDS)], **settings)


def _receiver(number: int, api_url: str, race_id: str, **settings: Any) -> WatchedReceiver:
    """Return one; of four, two are of the second generation, which resumes always, and asks past its own link."""
    is_newer = number % 4 >= 2 or number in (RACE_RECEIVER, REPLAYING_RECEIVER)
    generation = SECOND_GENERATION if is_newer else FIRST_GENERATION
    manners = STEADY if number < STEADY_RECEIVERS else generation
    if number == RACE_RECEIVER:
        mode = {"mode": "race", "race_id": race_id}
        return NewerWatchedReceiver(resumes=True, manners=manners, api_url=api_url, mode=mode, **settings)
    if number == REPLAYING_RECEIVER:
        return ReplayingReceiver(resumes=True, manners=manners, api_url=api_url, **settings)
    if number % 4 < 2:
        return WatchedReceiver(resumes=number % 2 == 1, manners=manners, **settings)
    earliest = dict.fromkeys(settings["streams"], 1)
    return NewerWatchedReceiver(
        resumes=True, manners=manners, api_url=api_url, earliest_epochs=earliest, **settings
    )
