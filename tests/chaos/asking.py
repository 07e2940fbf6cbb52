"""Receivers that ask the operators' API through their sockets, all the time: each question is answered, once and in its
time, whatever is broken meanwhile, unless its session ends first.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

from tests.chaos.devices import NewerWatchedReceiver

__all__ = ["Asking"]

# Devices wait for so long; the server says something before.
ANSWER_WITHIN_S = 25.0
ASKS_EVERY_S = 0.5


class Asking:
    """Asks through some receivers. answers: how often what was said; problems: what should not have been."""

    def __init__(self, receivers: Sequence[NewerWatchedReceiver], *, patience: float) -> None:
        self.answers: Counter[str] = Counter()
        self.problems: list[str] = []
        self._receivers, self._within_s = receivers, ANSWER_WITHIN_S * patience

    async def run(self) -> None:
        """Ask until cancelled."""
        await asyncio.gather(*(self._ask_on(each) for each in self._receivers))

    async def _ask_on(self, receiver: NewerWatchedReceiver) -> None:
        while True:
            await asyncio.sleep(ASKS_EVERY_S)
            session = receiver.sessions
            try:
                async with asyncio.timeout(self._within_s):
                    answer = await receiver.ask("streams_list")
            except ConnectionError:
                self.answers["session ended"] += 1
            except TimeoutError:
                # Of a session that was cut off without a word nobody can have an answer.
                if receiver.sessions == session and receiver.connected:
                    self.problems.append(
                        f"{receiver.receiver_id} was not answered within {self._within_s:g} s"
                    )
            else:
                self.answers[str(answer["error"] or "done")] += 1
                if answer["ok"] != bool(answer["streams"]):
                    self.problems.append(f"{receiver.receiver_id} was answered {answer}")
