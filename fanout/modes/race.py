"""A race: what is mapped to it, as long as it is (fanout/plans/race.py)."""

from collections.abc import Mapping
from itertools import islice
from uuid import UUID

from fanout.modes.mode import Applied
from fanout.node import Node
from fanout.plans.race import Mapped
from fanout.sender import Source
from fanout.store.races import UNKNOWN, RaceMapping
from fanout.turns import Turns
from shared.errors import ProtocolError
from shared.protocol.v1 import StreamRef

__all__ = ["RaceMode"]

# What a receiver has been told to follow may be anything.
SHOWN_ID = 100
# Warnings are for people: of streams that are not followed so many are named.
SHOWN_REFUSED = 20


class RaceMode:
    """The epochs of a race. What is mapped while the receiver is connected begins then, and ends when it is no more."""

    def __init__(
        self, node: Node, turns: Turns, race_id: str, resume: Mapping[StreamRef, dict[int, int]]
    ) -> None:
        self.source: Source = turns
        self.backlog_done = turns.backlog_done
        self.changed = turns.changed
        self.race_id = _uuid(race_id)
        self._shown = race_id[:SHOWN_ID]
        self._node = node
        self._turns = turns
        self._resume = resume
        self._mapping = UNKNOWN
        self._plans: dict[StreamRef, Mapped] = {}
        self._refused: dict[StreamRef, str] = {}  # why streams are not followed
        self._version = 0

    async def start(self) -> None:
        """Find what is mapped, and at once what there is of it."""
        if self.race_id is not None:
            # It is told of each change from here on, also where this first look fails and `start` is tried again.
            await self._node.races.follow(self.race_id, self)
            await self._node.tails.resolve(self._plans)

    def remap(self, mapping: RaceMapping) -> bool:
        """Want what is mapped now."""
        if mapping == self._mapping:
            return False
        for ref in self._mapping.epochs.keys() | mapping.epochs.keys():
            self._map(ref, mapping.epochs.get(ref, frozenset()))
        self._mapping = mapping
        self._version += 1
        self.changed.set()
        return True

    def _map(self, ref: StreamRef, epochs: frozenset[int]) -> None:
        plan = self._plans.get(ref)
        if plan is None:
            self._refused.pop(ref, None)
        if plan is None and epochs:
            plan = Mapped(epochs)
            try:
                self._turns.subscribe(ref, plan, dict(self._resume.get(ref, {})))
            except ProtocolError as error:  # more streams than a session or the node may have
                self._refused[ref] = str(error)
            else:
                self._plans[ref] = plan
        elif plan is not None and plan.epochs != epochs:
            plan.map(epochs)
            self._turns.replan(ref)

    def applied(self) -> Applied:
        """Warn of a race that does not exist."""
        refused = islice(self._refused.items(), SHOWN_REFUSED)
        warnings = [f"{ref.reader_ip} of {ref.forwarder_id}: {why}" for ref, why in refused]
        if (more := len(self._refused) - SHOWN_REFUSED) > 0:
            warnings.append(f"and {more} more")
        is_known = self._mapping.is_known
        if not is_known:
            warnings.append(f"there is no race {self._shown}")
        return Applied(
            f"race ({self._shown})", len(self._mapping.epochs), tuple(warnings), self._version, is_known
        )

    def streams(self) -> dict[StreamRef, UUID]:
        """Return those that have an epoch in the race."""
        return self._turns.streams()

    def go_live(self) -> None:
        """Send what is new, too."""
        self._turns.go_live()

    def leave(self) -> None:
        """Follow nothing any more."""
        if self.race_id is not None:
            self._node.races.leave(self.race_id, self)
        self._turns.leave()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
