"""The page's numbers for Prometheus: open alerts, and what the states are made of, by stream and by receiver.

Every api process shows them, from the page that it reads anyway (view.py), a little more often than it is asked. Labels
are bounded: at most LABELLED streams, the oldest, and as many receivers, those furthest behind; what is not there any
more is taken away. rtserver_streams says how many streams there are.
"""

from collections import Counter
from contextlib import suppress
from typing import get_args

from api.alerts.rules import Signal
from api.live.snapshot import Page
from api.live.view import Live
from shared.db.errors import DatabaseRefused
from shared.metrics import gauge
from shared.runtime.process import Process

__all__ = ["LABELLED", "PageMetrics"]

LABELLED = 500
# deploy/observability/prometheus.yml asks every 5 s.
EVERY_S = 4.0

_STREAM = ("forwarder", "reader")

ALERTS = gauge(
    "alerts",
    "alerts that are open, and neither acknowledged nor muted; 0 for a signal that is well",
    "signal",
    "level",
)
QUIET = gauge("alerts_quiet", "alerts that are open and do not count: acknowledged, or muted", "quiet")
STREAMS = gauge("streams", "streams that there are")
LAST_READ = gauge("stream_last_read_age_seconds", "since the last read of the current epoch", *_STREAM)
MISSING = gauge("stream_missing_reads", "sequence numbers of the current epoch that never came", *_STREAM)
UNPARSED = gauge("stream_unparsed_reads", "lines of the current epoch that are no chip read", *_STREAM)
CLOCK = gauge("stream_clock_offset_seconds", "reader's clock minus ours, where known", *_STREAM)
CONFLICTS = gauge(
    "stream_open_conflicts", "conflicts that nobody has acknowledged, 1,000 at the most", *_STREAM
)
BEHIND = gauge(
    "receiver_behind_events", "events that a receiver has not acked, of all its streams", "receiver"
)
BEHIND_AGE = gauge(
    "receiver_behind_seconds", "age of the oldest event that a receiver has not acked", "receiver"
)


class PageMetrics:
    """Keeps the gauges as the page is."""

    def __init__(self, process: Process, live: Live) -> None:
        self._process = process
        self._live = live

    async def run(self) -> None:
        """Show the page's numbers until the process stops; while the database is away the last ones stay."""
        await self._process.loop("numbers", self._show, poll_s=EVERY_S).run()

    async def _show(self) -> None:
        with suppress(DatabaseRefused):  # the evaluation says so
            show((await self._live.refresh())[0])


def show(page: Page) -> None:
    """Set all gauges from a page."""
    open_ = [each for each in page.alerts if each.ended_at is None]
    counted = Counter((each.signal, each.level) for each in open_ if each.quiet in (None, "clearing"))
    for signal in get_args(Signal):
        for level in ("watch", "act"):
            ALERTS.labels(signal, level).set(counted[signal, level])
    QUIET.labels("acknowledged").set(page.verdict.acknowledged)
    QUIET.labels("muted").set(page.verdict.muted)
    _show_streams(page)
    _show_receivers(page)


def _show_streams(page: Page) -> None:
    STREAMS.set(page.verdict.streams)
    for each in (LAST_READ, MISSING, UNPARSED, CLOCK, CONFLICTS):
        each.clear()
    for card in list(page.cards.values())[:LABELLED]:
        labels = card.forwarder_id, card.reader_ip
        MISSING.labels(*labels).set(card.missing_count)
        UNPARSED.labels(*labels).set(card.unparsed_count)
        CONFLICTS.labels(*labels).set(card.open_conflicts)
        if card.last_received_at is not None:
            LAST_READ.labels(*labels).set((page.at - card.last_received_at).total_seconds())
        if card.clock_offset_ms is not None:
            CLOCK.labels(*labels).set(card.clock_offset_ms / 1000)


def _show_receivers(page: Page) -> None:
    for each in (BEHIND, BEHIND_AGE):
        each.clear()
    behind = {receiver_id: sum(row.behind for row in rows) for receiver_id, rows in page.flow.items()}
    for receiver_id in sorted(behind, key=lambda each: -behind[each])[:LABELLED]:
        BEHIND.labels(receiver_id).set(behind[receiver_id])
        ages = [row.behind_seconds or 0 for row in page.flow[receiver_id]]
        BEHIND_AGE.labels(receiver_id).set(max(ages))
