"""Announces who comes in. Every api process looks; one is at it at a time, whichever, and it makes no difference which:
all that is known stands in rows, so a process that ends in the middle has announced nothing or all of a look.
"""

from typing import NamedTuple

from api.announcer import run
from api.announcer.store import announcements, runs
from api.races.names import whose
from shared.db.channels import ANNOUNCER, POSITIONS
from shared.db.connections import Transaction
from shared.runtime.activity import Note
from shared.runtime.process import Process

__all__ = ["Announcing"]

# A lost notification, an epoch that was commanded, a look that another process had just ended.
POLL_S = 1.0
# Behind each look at all that there is: what one finds is a commit, and writers wait at the same disk with theirs.
REST_S = 0.2


class Done(NamedTuple):
    """What a look has done: whether a run began, and how many were announced."""

    began: bool
    announced: int


class Announcing:
    """The loop that announces."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("announcer", self._look_and_rest, poll_s=POLL_S, channel=POSITIONS)
        process.listener.on(POSITIONS, lambda _: self._loop.wake())

    async def run(self) -> None:
        """Announce until the process stops."""
        await self._loop.run()

    async def look(self) -> int:
        """Announce whoever has come in, and return how many."""
        announced = 0
        while not self._process.stop.asked and await runs.is_due(self._process.pool):
            done = await self._look_once()
            if done is None:
                # Another process is at it. It looks again before it rests; should it die, the poll finds what it left.
                break
            if done.began or done.announced:
                # After the commit: who looks sees it.
                self._process.notifier.notify(ANNOUNCER)
            announced += done.announced
        return announced

    async def _look_and_rest(self) -> int:
        announced = await self.look()
        # While writers store, notifications come without a pause; the next look sees what all of them tell of.
        await self._process.stop.sleep(REST_S)
        return announced

    async def _look_once(self) -> Done | None:
        """Look at the next reads of each stream; None when somebody else is at it."""
        async with self._process.activity.changing(self._process.pool) as (connection, note):
            return await _look(connection, note) if await runs.hold_if_free(connection) else None


async def _look(connection: Transaction, note: Note) -> Done:
    # Behind the lock: what was set, and what was announced, until now.
    standing = await runs.config(connection)
    if not standing.shown.public_enabled:
        return Done(began=False, announced=0)
    run_id = standing.run_id
    moved = await runs.moved(connection)
    if moved:
        # Before any read of it is looked at: the first ones of a new epoch belong to the new run.
        run_id = await runs.begin_run_at_epochs(connection)
    for each in moved:
        # A device may have done it by itself, in mid-race: then what was shown has gone, and somebody wonders why.
        await note("announcer_run_began", level="warn", **each._asdict(), run_id=run_id)
    return Done(began=bool(moved), announced=await _announce(connection, run_id))


async def _announce(connection: Transaction, run_id: int) -> int:
    reads, up_to = await announcements.reads(connection)
    known = await whose(connection, [each.sighting for each in reads if each.counts])
    announced = await announcements.announce(connection, run_id, run.finishes(reads, known))
    await announcements.advance(connection, up_to)
    return announced
