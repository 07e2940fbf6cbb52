"""Looks once a second at what the states are made of, in whichever api process comes first, and keeps what has changed.

Every api process tries; the row in `evaluation` lets one through. There is no leader to elect and none that can hang:
all of a look is one transaction, which ends with its connection, and which the server ends when it is left idle. What
is decided stands in rules/ and engine.py, what is kept in the table `troubles`: so all api processes show the same,
and a state outlives any of them. Times are the database's.
"""

from time import monotonic

from api.alerts import engine, findings, samples, states
from api.alerts import store as alerts
from api.storage.facts import UNSEEN
from api.storage.plans import ALONG_THE_KEY
from api.streams import closed
from shared.db.channels import STATES
from shared.db.connections import Link, transaction
from shared.db.errors import DatabaseRefused
from shared.errors import RtServerError
from shared.log import get_logger
from shared.runtime.process import Process

__all__ = ["CONNECTION", "Evaluation"]

EVERY_S = 1.0
# A little less than the interval: those who come a moment early need not wait for another round.
TURN_S = 0.9
# A look that takes long is followed by a rest this many times as long, in whichever process.
REST = 4
KEPT = 500

CONNECTION = {
    **ALONG_THE_KEY,
    "lock_timeout": "1s",
    "statement_timeout": "5s",
    # A process that is stopped in the middle gives its turn back.
    "idle_in_transaction_session_timeout": "5s",
    # What is lost with a crash is seen again at the next look.
    "synchronous_commit": "off",
}

log = get_logger(__name__)


class Evaluation:
    """One api process's share in it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._problem: str | None = None
        process.concerns["evaluation"] = lambda: self._problem
        self._took_s = 0.0
        self._loop = process.loop(
            "evaluation",
            self._look_in_turn,
            poll_s=lambda: max(EVERY_S, REST * self._took_s),
            on_failure=self._failed,
        )
        self._link = Link(process.settings.database_url, name="rt-server api evaluation", **CONNECTION)

    async def run(self) -> None:
        """Look, or see that another does, until the process stops."""
        await self._loop.run()
        self.close()

    def close(self) -> None:
        """Give the connection up; the next look opens another."""
        self._link.drop()

    async def _look_in_turn(self) -> None:
        began = monotonic()
        try:
            if await self.look(turn_s=max(TURN_S, REST * self._took_s)):
                # Only of looks of our own: one that finds that another has looked takes nothing, and must not shorten
                # the rest.
                self._took_s = monotonic() - began
            self._problem = None
        except DatabaseRefused as error:
            if self._problem is None:
                log.warning("evaluation_refused", error=str(error))
            self._failed(error)

    def _failed(self, error: RtServerError) -> None:
        """Tell in the process's row, for all to see: what cannot be written cannot be kept as an alert."""
        # What its transaction has done is not known: it ends with the connection, and the turn is free.
        self.close()
        self._problem = f"{UNSEEN}: {error}"

    async def look(self, *, turn_s: float = TURN_S) -> bool:
        """Look once, if nobody has within `turn_s`; return whether it was our turn."""
        connection = await self._link.get()
        async with transaction(connection):
            # The turn first: its row is locked until the commit, and lets nobody else look meanwhile. Samples before
            # the facts, which are read of them; findings before tidying, which takes away what they may be about.
            now = await states.take_turn(connection, every_s=turn_s)
            if now is None:
                return False
            await samples.sample(connection)
            facts = await findings.gather(connection)
            known = await states.alert_states(connection)
            # From what is kept, not from what this process remembers: the last look may have been another's.
            changed = engine.advance(known, findings.find(facts, known), now)
            if changed:
                await states.write(connection, changed, kept=KEPT)
            await alerts.tidy(connection)
            await closed.tidy(connection)
            # Noted and taken as noted in one commit: a look that dies says it at the next, and none says it twice.
            for each in await closed.note_reads(connection):
                fields = each._asdict()
                await self._process.activity.within(
                    connection, "read_on_closed_stream", level="warn", **fields
                )
        # Only what is committed is told.
        self._process.activity.told()
        if changed:
            self._process.notifier.notify(STATES)
        return True
