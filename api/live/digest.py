"""What has changed since it was last told, as one event a second at the most: for pages on slow and costly links.

It keeps the page as it was told and nothing of its listeners: all of them are told the same. What was told is told with
the values that held then, so whoever has a younger page may apply it all the same, provided that the page is one that
was told: that is why an overview is made of `told`, and never of what has merely been read.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from api.events import store as events
from api.events.naming import named
from api.events.types import Read
from api.live import store as overview
from api.live.diff import changed, settled
from api.live.messages import Changed, RateBins
from api.live.snapshot import Page
from shared.runtime.process import Process

__all__ = ["Digest", "grown_by"]

EVERY_S: Final = 1.0
# Numbers that never rest, and the bins of the rates, of which there is a new one every ten seconds.
SLOW_EVERY_S: Final = 5.0
# Of the reads of a second: nobody reads more while they run through, and each costs a phone what a stream's numbers do.
READS: Final = 10
READS_BYTES: Final = 4096
# What a slow link should carry each second must not hang on a page that was not looked at for long.
MOST_BINS: Final = 18
COMMITTED_WITHIN: Final = timedelta(minutes=1)


class Digest:
    """What one api process has told in this form."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._at = self._slow_at = 0.0
        self._bin = 0
        self.told: Page | None = None
        # Set by whoever sees it, and told with the next.
        self.races_changed = False

    async def begin(self, page: Page, now: float) -> None:
        """Take a page as told: whoever listens fetches it. now: seconds, from anywhere."""
        self._bin = await overview.newest_bin(self._process.pool, page.cards.keys())
        self.told, self._at, self._slow_at = page, now, now

    async def next(self, page: Page, now: float, *, whole: bool) -> tuple[Changed | None, bool]:
        """Return what to tell now, None for nothing; and whether something is left for later. whole: nothing may be."""
        told = self.told
        if told is None:
            raise ValueError("nothing was told yet")
        slow = whole or now - self._slow_at >= SLOW_EVERY_S
        shown = settled(told, page, slow=slow)._replace(at=told.at)
        if not whole and now - self._at < EVERY_S:
            return None, shown != told or self.races_changed
        if shown == told and not slow and not self.races_changed:
            return None, False
        grown = grown_by(told, page)
        reads = await self._reads(grown)
        rates = await self._rates(page) if slow else None
        skipped = sum(each.until - each.behind for each in grown.values()) - len(reads)
        shown = shown._replace(at=page.at)
        drawn = await self._drawn(told, shown)
        said = changed(told, drawn, reads=reads, skipped=skipped, rates=rates)
        if self.races_changed:
            said = replace(said or Changed(at=page.at), races_changed=True)
        # Only now: what could not be looked up is told with the next.
        self.told, self._at, self.races_changed = shown, now, False
        self._slow_at = now if slow else self._slow_at
        self._bin = self._bin if rates is None else rates.bin
        return said, False

    async def _reads(self, grown: Mapping[UUID, events.Growth]) -> list[Read]:
        if not grown:
            return []
        pool = self._process.pool
        return await named(pool, await events.since(pool, grown, limit=READS, lines_bytes=READS_BYTES))

    async def _drawn(self, told: Page, shown: Page) -> Page:
        """Return the page with the rates of cards that have come: one that was gone for a while has a past. They end at
        the bin that was told last, behind which whoever listens appends the next.
        """
        came = shown.cards.keys() - told.cards.keys()
        if not came or not self._bin:
            return shown
        newest, rates = await overview.rates(self._process.pool, came)
        ahead = max(0, newest - self._bin)
        cards = {
            stream_id: replace(card, rate=([0] * ahead + rates[stream_id])[: overview.BINS])
            if stream_id in came and any(rates.get(stream_id, ()))
            else card
            for stream_id, card in shown.cards.items()
        }
        return shown._replace(cards=cards)

    async def _rates(self, page: Page) -> RateBins | None:
        newest, counts = await overview.rates(self._process.pool, page.cards.keys(), since=self._bin)
        if newest == self._bin:
            return None
        # At first it is enough to know where one is: an overview says the rest.
        bins = 0 if self._bin == 0 else min(newest - self._bin, MOST_BINS)
        new = {stream_id: found[-bins:] for stream_id, found in counts.items() if bins}
        return RateBins(
            bin=newest, counts={stream_id: found for stream_id, found in new.items() if any(found)}
        )


def grown_by(told: Page, now: Page) -> dict[UUID, events.Growth]:
    """Return what was stored of each stream that has grown. A stream that has come to the page is new itself; where
    there were more than it had room for, it may also be one of those, and what it has is old.
    """
    all_told = told.verdict.streams <= len(told.cards)
    grown = {}
    for stream_id, until in now.positions.items():
        # A time of creation is that of a transaction's begin: it may have been committed a while later.
        new = all_told or now.cards[stream_id].created_at > told.at - COMMITTED_WITHIN
        behind = told.positions.get(stream_id, 0 if new else until)
        if until > behind:
            grown[stream_id] = events.Growth(behind, until)
    return grown
