"""Makes passings of what was stored. Every api process looks; of each stream one is at it at a time, and it makes no
difference which: what was taken stands beside what was made of it, in one transaction.

Nobody waits for this, and those who store reads are at the same disk and the same processors. So a look takes a bounded
number of events, and behind it comes a pause of several times as long: what is little is there within a fifth of a
second, and a backlog of millions has its share of the machine and no more. But a look may also take long because of
something else, a lock or a disk that stood still, and that ends: so a pause has a ceiling.
"""

from time import monotonic

from api.passings import store
from shared.db.channels import PASSINGS, POSITIONS
from shared.metrics import gauge
from shared.runtime.process import Process

__all__ = ["Filling"]

# A lost notification, a stream that another process was at.
POLL_S = 1.0
MOST_EVENTS = 2_000
REST_S = 0.1
# So many times as long as a look took; on a busy machine it takes longer, and the pause is longer, too. While more is
# stored than a look takes, the machine is the drains'.
RESTS, RESTS_BEHIND = 4.0, 30.0
# As long as what a race's flow says may be old anyway (api/flow): who looks at a page takes passings that come later
# for passings that do not come. A look of a sixth of a second, which is a slow one, still has its whole pause.
LONGEST_REST_S = 5.0

WAITING = gauge("events_waiting_for_passings", "events that are stored and not yet in passings")


class Filling:
    """The loop that makes passings."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("passings", self._fill_and_rest, poll_s=POLL_S, channel=POSITIONS)
        process.listener.on(POSITIONS, lambda _: self._loop.wake())
        self._waiting = 0

    async def run(self) -> None:
        """Make passings until the process stops."""
        await self._loop.run()

    async def fill(self) -> store.Look:
        """Take events once, and tell of it."""
        look = await store.fill(self._process.pool, most_events=MOST_EVENTS)
        WAITING.set(look.waiting)
        if look.taken:
            # After the commit: who looks sees it.
            self._process.notifier.notify(PASSINGS)
        return look

    async def _fill_and_rest(self) -> int:
        began = monotonic()
        look = await self.fill()
        if look.taken and look.waiting:
            # What is left no notification tells of. Where nothing could be taken another process is at it: should it
            # die, the poll finds what it left.
            self._loop.wake()
        rests = RESTS_BEHIND if look.waiting > self._waiting else RESTS
        self._waiting = look.waiting
        await self._process.stop.sleep(min(max(REST_S, rests * (monotonic() - began)), LONGEST_REST_S))
        return look.taken
