"""Tells people of alerts, in whichever api process comes first, one notice at a time.

Every api process that was given ALERT_URLS looks: what is decided and who sends stand in rows (store.py), so it makes
no difference which does it, and whoever dies leaves the rest to the others. Nobody can promise the world outside
"exactly once": a process that dies between sending and noting so has it sent again by another, with the same id.

While no alert is red and nothing waits, a look is one small read.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, timedelta, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo

from api.notices import courier, store
from api.notices.metrics import NOTICES
from api.notices.planning import plan
from api.notices.store import Outcome, Taken
from api.notices.targets import Target
from api.notices.wording import Text, text
from shared.db.channels import STATES
from shared.log import get_logger
from shared.runtime.process import Process

__all__ = ["Send", "Telling", "again_after", "outcome_of", "page_at"]

# What is to be told some seconds later, or a minute after the last; whoever took one and died.
POLL_S = 1.0
# A lost notification: while no alert is red and nothing waits, nothing else can be due.
QUIET_POLL_S = 5.0
# The first tries come soon: most of what fails is over in a moment.
PAUSES_S = (5.0, 15.0, 30.0, 60.0)
TRIED_FOR = timedelta(hours=1)

# courier.send, or what stands for it.
Send: TypeAlias = Callable[..., Awaitable[courier.Said]]

log = get_logger(__name__)


def again_after(tries: int) -> float:
    """Return how long after so many tries the next one is."""
    return PAUSES_S[min(tries, len(PAUSES_S)) - 1]


def outcome_of(taken: Taken, said: courier.Said) -> Outcome:
    """Return what became of a notice, by what each target that did not have it yet has answered. Pure."""
    reached = [name for name, problem in said.items() if problem is None]
    problems = [f"{name}: {problem}" for name, problem in said.items() if problem is not None]
    if not problems:
        return Outcome(taken.notice_id, reached, None, "sent")
    problem = "; ".join(problems)
    if taken.now - taken.made_at >= TRIED_FOR:
        return Outcome(taken.notice_id, reached, problem, "given_up")
    return Outcome(taken.notice_id, reached, problem, "due", timedelta(seconds=again_after(taken.tries)))


def page_at(site_address: str) -> str:
    """Return where people find the dashboard, if the server's name says it."""
    first = site_address.replace(",", " ").split(" ")[0]
    if "://" in first:
        return first if "://:" not in first else ""
    return f"https://{first}" if first and not first.startswith(":") else ""


class Telling:
    """One api process's share in it."""

    def __init__(
        self,
        process: Process,
        targets: Sequence[Target],
        *,
        time_zone: str = "",
        page: str = "",
        send: Send = courier.send,
    ) -> None:
        self._process, self._targets, self._page, self._send = process, targets, page, send
        self._zone: tzinfo = ZoneInfo(time_zone) if time_zone else UTC
        # What was sent and could not be noted: the database was away. It is not sent again for that.
        self._unnoted: Outcome | None = None
        # Addresses that did not take the last that was sent to them, and what was wrong.
        self._failing: courier.Answers = {}
        self._problem: str | None = None
        process.concerns["notices"] = lambda: self._problem
        self._busy = True
        self._loop = process.loop("notices", self.look, poll_s=lambda: POLL_S if self._busy else QUIET_POLL_S)
        process.listener.on(STATES, lambda _: self._loop.wake())

    async def run(self) -> None:
        """Tell until the process stops; nobody, where there is nobody to be told."""
        if self._targets:
            await self._loop.run()
        else:
            await self._process.stop.wait()

    async def look(self) -> None:
        """Do what is to be done now, and send what is due."""
        await self._note()
        self._busy = await store.is_anything(self._process.pool)
        while self._busy and not self._process.stop.asked and (taken := await self._take()) is not None:
            text_of, notice = taken
            left = [each for each in self._targets if each.name not in notice.reached]
            asked = self._asked_now(left, notice)
            said = await self._send(asked, notice.kind, text_of, stop=self._process.stop)
            if len(said) < len(asked):
                # We are to stop, and do not know what came of it. We die with it in hand: another sends it again.
                return
            waiting = {each.name: self._failing.get(each.name) for each in left}
            self._unnoted = outcome_of(notice, {**waiting, **said})
            self._failing.update(said)
            await self._note()

    def _asked_now(self, left: Sequence[Target], notice: Taken) -> Sequence[Target]:
        """Return who is sent a notice at this try: at its first those that took the last, where there are any. Others
        may hang again, for as long as a program is given, and the next notice would come to all so much later.
        """
        took = [each for each in left if self._failing.get(each.name) is None]
        return took if took and notice.tries == 1 else left

    async def _take(self) -> tuple[Text, Taken] | None:
        """Plan, and take the next notice that is due, with its words."""
        pool = self._process.pool
        # Without a lock, and without a commit: nearly always there is nothing.
        if not plan(await store.facts(pool)) and not await store.is_due(pool):
            return None
        async with self._process.activity.changing(pool) as (connection, _):
            if not await store.hold_if_free(connection):
                return None
            # Behind the lock: what another has planned is seen, and planned no second time.
            NOTICES.labels("dropped").inc(await store.write(connection, plan(await store.facts(connection))))
            taken = await store.take(connection, self._process.presence.process_id)
            if taken is None:
                return None
            if taken.fixed:
                return Text(taken.title or "", taken.body or ""), taken
            lines, causes = await store.lines(connection, taken)
            words = text(taken.kind, taken.notice_id, lines, zone=self._zone, page=self._page)
            await store.say(connection, taken.notice_id, words, causes)
            return words, taken

    async def _note(self) -> None:
        """Note what became of the last notice, where that has not been done, and whether ours get through."""
        outcome, process = self._unnoted, self._process
        if outcome is None and self._problem is None:
            return
        if outcome is not None:
            async with process.activity.changing(process.pool) as (connection, note):
                await store.note(connection, process.presence.process_id, outcome)
                if outcome.state == "given_up":
                    await note(
                        "notice_given_up", level="warn", notice=outcome.notice_id, problem=outcome.problem
                    )
            self._unnoted = None
            self._count(outcome)
            process.notifier.notify(STATES)
        problem = await store.problem_of(process.pool, process.presence.process_id)
        self._problem = None if problem is None else f"notices of alerts do not get through: {problem}"

    def _count(self, outcome: Outcome) -> None:
        NOTICES.labels("failed" if outcome.state == "due" else outcome.state).inc()
        if outcome.problem is not None:
            log.warning(
                "notice_failed", notice=outcome.notice_id, problem=outcome.problem, state=outcome.state
            )
