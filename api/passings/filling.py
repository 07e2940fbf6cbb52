"""Makes passings of what was stored. Every api process looks, one of them at a time, and it makes no difference which:
what was taken stands beside what was made of it, in one transaction.

Nobody waits for this, and those who store reads are at the same disk and the same processors. So a look takes a
bounded number of events, and behind it comes a pause of several times as long, which all processes keep: what is little
is there within a fifth of a second, and a backlog of millions has its share of the machine and no more. But a look may
also take long because of something else, a disk that stood still, and that ends: so a pause has a ceiling.
"""

from typing import Final

from api.passings import store
from api.passings.store import Pace
from shared.db.channels import PASSINGS, POSITIONS
from shared.metrics import gauge
from shared.runtime.process import Process

__all__ = ["Filling"]

# A lost notification, a stream that another process was at, a process that was at it and is gone.
POLL_S = 1.0
MOST_EVENTS = 2_000
# Times as long as a look took; on a busy machine it takes longer, and the pause is longer, too. While more is stored
# than a look takes, the machine is the drains'. The longest is as long as what a race's flow says may be old anyway
# (api/flow): who looks at a page takes passings that come later for passings that do not come. A look of a sixth of a
# second, which is a slow one, still has its whole pause.
PACE: Final = Pace(rests=4.0, rests_behind=30.0, shortest_s=0.1, longest_s=5.0)

WAITING = gauge("events_waiting_for_passings", "events that are stored and not yet in passings")


class Filling:
    """The loop that makes passings."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("passings", self._fill_and_rest, poll_s=POLL_S, channel=POSITIONS)
        process.listener.on(POSITIONS, lambda _: self._loop.wake())

    async def run(self) -> None:
        """Make passings until the process stops."""
        await self._loop.run()

    async def fill(self) -> store.Look:
        """Take events once, if it is time, and tell of it."""
        look = await store.fill(self._process.pool, most_events=MOST_EVENTS, pace=PACE)
        WAITING.set(look.waiting)
        if look.taken:
            # After the commit: who looks sees it.
            self._process.notifier.notify(PASSINGS)
        return look

    async def _fill_and_rest(self) -> int:
        look = await self.fill()
        if look.taken is None or (look.taken and look.waiting):
            # What is left no notification tells of; and whoever was at it may be gone by then. Where it was time and
            # nothing could be taken somebody holds the streams: should he let go, the poll finds what he left.
            self._loop.wake()
        await self._process.stop.sleep(look.rest_s)
        return look.taken or 0
