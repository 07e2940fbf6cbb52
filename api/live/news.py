"""What is new of readers, batteries and forwarders' numbers, as single events.

As with all that is told, rows are compared with what was told of them: a notification only says that a look is due.
What is large (a reader's info) or costs a look of its own (chips over several readers) is read only of what has
changed. Reading comes before telling: what could not be read whole is told by the next look, and nothing twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from api.devices import store as devices
from api.devices.store import Numbers
from api.live.messages import (
    ForwarderMetricsUpdated,
    ForwarderUpsUpdated,
    Message,
    ReaderDownloadProgress,
    ReaderInfoUpdated,
)
from api.live.snapshot import Page
from api.readers import store as readers
from api.readers.store import Link, Told
from api.ups import store as ups
from api.ups.types import Ups
from shared.runtime.process import Process

__all__ = ["DeviceNews", "Found", "Sums", "sums"]

# Of a forwarder: everybody who follows gets it, and each may have hundreds of reads a second.
NUMBERS_EVERY_S = 1.0

Key = tuple[str, str]


class Sums(NamedTuple):
    """What says that a forwarder's numbers are others: its streams', added up."""

    reads: int
    chips: int
    last_read_at: datetime | None


class Found(NamedTuple):
    """What was read. told, numbers: of what is other than was told."""

    links: Mapping[Key, Link]
    told: Mapping[Key, Told]
    batteries: Mapping[str, Ups]
    sums: Mapping[str, Sums]
    numbers: Mapping[str, Numbers]


class DeviceNews:
    """What one api process has told of devices. clock: seconds, from anywhere."""

    def __init__(self, process: Process, *, clock: Callable[[], float]) -> None:
        self._process = process
        self.clock = clock
        self._links: Mapping[Key, Link] = {}
        self._downloads: dict[Key, object] = {}
        self._batteries: Mapping[str, Ups] = {}
        self._sums: dict[str, Sums] = {}  # as their numbers were told,
        self._told_at: dict[str, float] = {}  # and when

    async def read(self, page: Page, *, telling: bool) -> Found:
        """Read how all stands; and, where it will be told, of what is other than was told all that there is."""
        pool = self._process.pool
        links = await readers.links(pool)
        batteries = await ups.batteries(pool)
        now = sums(page)
        if not telling:
            return Found(links, {}, batteries, now, {})
        told = await readers.told_of(pool, [key for key in links if self._links.get(key) != links[key]])
        due = [each for each in now if now[each] != self._sums.get(each) and self._may_tell_numbers(each)]
        numbers = await devices.numbers_of(pool, due) if due else {}
        return Found(links, told, batteries, now, numbers)

    def begin(self, found: Found) -> None:
        """Take all as told: who begins to follow fetches it, but for batteries."""
        self._links, self._batteries, self._downloads = found.links, found.batteries, {}
        self._sums, self._told_at = dict(found.sums), {}

    def take(self, found: Found) -> Iterator[Message]:
        """Yield what is new, and take it as told."""
        for key, told in found.told.items():
            yield _reader(key, found.links[key], told)
            if told.download is not None and told.download != self._downloads.get(key):
                yield _progress(key, told.download)
            self._downloads[key] = told.download
        for forwarder_id, battery in found.batteries.items():
            known = self._batteries.get(forwarder_id)
            if known is None or (known.available, known.status) != (battery.available, battery.status):
                yield _battery(forwarder_id, battery)
        for forwarder_id, numbers in found.numbers.items():
            yield ForwarderMetricsUpdated(forwarder_id=forwarder_id, **numbers._asdict())
            self._sums[forwarder_id] = found.sums[forwarder_id]
            self._told_at[forwarder_id] = self.clock()
        self._links, self._batteries = found.links, found.batteries
        self._forget(found)

    def batteries(self) -> list[ForwarderUpsUpdated]:
        """Return what a new follower is told first."""
        return [_battery(forwarder_id, battery) for forwarder_id, battery in self._batteries.items()]

    def _may_tell_numbers(self, forwarder_id: str) -> bool:
        told_at = self._told_at.get(forwarder_id)
        return told_at is None or self.clock() - told_at >= NUMBERS_EVERY_S

    def _forget(self, found: Found) -> None:
        """Keep nothing of what is not there any more: devices decide what there was."""
        for gone in self._downloads.keys() - found.links.keys():
            del self._downloads[gone]
        for gone_forwarder in self._sums.keys() - found.sums.keys():
            del self._sums[gone_forwarder]
            self._told_at.pop(gone_forwarder, None)


def sums(page: Page) -> dict[str, Sums]:
    """Return what the streams on the page have, by forwarder. Pure."""
    by_forwarder: dict[str, list[tuple[int, int, datetime | None]]] = defaultdict(list)
    for card in page.cards.values():
        by_forwarder[card.forwarder_id].append((card.epoch_reads, card.unique_chips, card.last_received_at))
    return {
        forwarder_id: Sums(
            sum(reads for reads, _, _ in streams),
            sum(chips for _, chips, _ in streams),
            max((at for _, _, at in streams if at is not None), default=None),
        )
        for forwarder_id, streams in by_forwarder.items()
    }


def _reader(key: Key, link: Link, told: Told) -> ReaderInfoUpdated:
    info = {} if told.info is None else {"reader_info": told.info}
    return ReaderInfoUpdated(forwarder_id=key[0], reader_ip=key[1], state=link.state, **info)


def _progress(key: Key, download: Mapping[str, object]) -> ReaderDownloadProgress:
    """The row holds what the gateway has checked; what a later release puts there besides is left out."""
    about = {"type": "reader_download_progress", "forwarder_id": key[0], "reader_ip": key[1]}
    return msgspec.convert({**download, **about}, ReaderDownloadProgress)


def _battery(forwarder_id: str, battery: Ups) -> ForwarderUpsUpdated:
    return ForwarderUpsUpdated(forwarder_id=forwarder_id, available=battery.available, status=battery.status)
