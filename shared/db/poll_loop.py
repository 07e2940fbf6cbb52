"""The one loop of all background work: wait, work, and bear a database that is away.

- It works at its start, whenever it is woken, and when its poll interval is over: a notification may be lost, and one
  may come for nothing.
- It ends when the process is asked to stop; work that is under way then is not interrupted.
- While the database cannot be used it tries again and again (patience.py). That is logged once for the whole process
  when the first of its loops meets it, and once when the last has got over it, whatever loops; by kinds of errors, see
  Outage.
- What a poll found, of which a notification should have told, is counted.
"""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple

from shared.db.errors import DatabaseUnavailable
from shared.db.patience import retry_pause_s
from shared.log import get_logger
from shared.metrics import POLLS_FOUND_WORK
from shared.wake import Stop, Wake

__all__ = ["Outage", "PollLoop"]

log = get_logger(__name__)


class _Began(NamedTuple):
    at: float
    error: str


class Outage:
    """Which loops of a process cannot use the database, by what keeps them from it: that it cannot be reached, or one
    of the kinds of errors with which it answers (shared/db/errors.py). Each has its own beginning and end: a right that
    is missing for days hides no restart of the database.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failing: dict[type[DatabaseUnavailable], set[str]] = {}
        self._began: dict[type[DatabaseUnavailable], _Began] = {}

    def began(self, loop: str, error: DatabaseUnavailable) -> None:
        """Note that a loop cannot go on; what the first of them met is said, at any level what the others did."""
        kind = type(error)
        if kind is not DatabaseUnavailable:
            self._over(DatabaseUnavailable, loop)  # it answers
        # Not the other way round: that the server is away now says nothing of whether a missing right is back.
        failing = self._failing.setdefault(kind, set())
        if not failing:
            self._began[kind] = _Began(self._clock(), str(error))
            log.warning("database_unavailable", loop=loop, error=str(error))
        elif loop not in failing:
            log.debug("database_unavailable", loop=loop, error=str(error))
        failing.add(loop)

    def ended(self, loop: str) -> None:
        """Note that a loop goes on."""
        for kind in list(self._failing):
            self._over(kind, loop)

    def left(self, loop: str) -> None:
        """Note that a loop has ended, which says nothing of the database."""
        # Without a line: the last one to leave may do so in the middle of an outage, because the process stops.
        for failing in self._failing.values():
            failing.discard(loop)

    def _over(self, kind: type[DatabaseUnavailable], loop: str) -> None:
        failing = self._failing.get(kind, set())
        if loop in failing:
            failing.discard(loop)
            if not failing:
                began = self._began[kind]
                log.warning(
                    "database_available", after_s=round(self._clock() - began.at, 1), error=began.error
                )


class PollLoop:
    """One piece of background work, again and again."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        stop: Stop,
        outage: Outage | None = None,
        poll_s: float | Callable[[], float],
        wake: Wake | None = None,
        channel: str | None = None,
        on_failure: Callable[[DatabaseUnavailable], None] = lambda _: None,
    ) -> None:
        """work: looks and does what there is to do; truthy when there was something. outage: the process's; None: of
        its own. poll_s: the longest wait, in seconds, or what says it after each look. wake: made by `stop.waker()`,
        for work that itself waits for it. channel: whose notifications tell of the work. on_failure: what else a
        failure means, such as a connection that is of no use any more; called each time, before the wait.
        """
        self._name = name
        self._work = work
        self._stop = stop
        self._outage = outage or Outage()
        self._poll_s = poll_s if callable(poll_s) else lambda: poll_s
        self._wake = wake or stop.waker()
        self._channel = channel
        self._on_failure = on_failure

    def wake(self) -> None:
        """Let it look now, or once more when it is at work."""
        self._wake.set()

    async def run(self) -> None:
        """Work until the process stops."""
        # Work comes before the first wait: what happened before anybody listened was notified to nobody.
        polled = False
        # What has woken us until now (a listener that has just connected wakes everybody) this first look covers.
        self._wake.clear()
        while not self._stop.asked:
            try:
                found = await self._work()
            # Any other error leaves the loop, and takes the process down: nobody knows what state it left behind.
            except DatabaseUnavailable as error:
                self._outage.began(self._name, error)
                # Before the pause: that a connection was dropped is what /readyz and the acceptor go by meanwhile.
                self._on_failure(error)
                # Not `_wake.wait`: notifications go on while one statement fails, and each would be a try at once.
                await self._stop.sleep(retry_pause_s())
                polled = False  # what waits now waited for the database, and not for a notification
                continue
            self._outage.ended(self._name)
            if found and polled and self._channel is not None:
                POLLS_FOUND_WORK.labels(self._channel).inc()
            # Whoever woke us while we worked has left the flag set: this returns at once, and the next look sees what
            # the last one may have missed.
            polled = not await self._wake.wait(at_most_s=self._poll_s())
        self._outage.left(self._name)
