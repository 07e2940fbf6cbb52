"""Live: some streams, each from its floor on (fanout/plans/live.py), whether they exist yet or not."""

from collections.abc import Mapping
from uuid import UUID

from fanout.modes.mode import Applied, not_there_yet
from fanout.node import Node
from fanout.plans.live import FromFloor
from fanout.sender import Source
from fanout.turns import Turns
from shared.protocol.v1 import StreamRef
from shared.protocol.v12 import Live

__all__ = ["LiveMode"]


class LiveMode:
    """The streams that were asked for. Those that appear later begin then."""

    def __init__(
        self, node: Node, turns: Turns, mode: Live, resume: Mapping[StreamRef, dict[int, int]]
    ) -> None:
        self.race_id: UUID | None = None
        self.source: Source = turns
        self.backlog_done = turns.backlog_done
        self.changed = turns.changed
        self._node = node
        self._turns = turns
        self._asked = list(dict.fromkeys(mode.streams))
        # Of one that is given twice the last counts.
        self._earliest = {
            StreamRef(each.forwarder_id, each.reader_ip): each.earliest_epoch
            for each in mode.earliest_epochs or ()
        }
        self._resume = resume

    async def start(self) -> None:
        """Subscribe, and find out at once which of the streams exist: their past comes before the answer."""
        # Followed before they are looked for: one that is made in between is found by its notification.
        for ref in self._asked:
            self._turns.subscribe(ref, FromFloor(self._earliest.get(ref)), dict(self._resume.get(ref, {})))
        await self._node.tails.resolve(self._asked)

    def applied(self) -> Applied:
        """Warn of what does not exist yet. What exists may not have begun: its rows are held, or it had no turn."""
        followed = self._turns.subscriptions
        missing = [ref for ref in self._asked if followed[ref].tail.stream_id is None]
        return Applied(
            f"live ({len(self._asked)} streams)",
            len(self._asked) - len(missing),
            tuple(map(not_there_yet, missing)),
        )

    def streams(self) -> dict[StreamRef, UUID]:
        """Return those that exist."""
        return self._turns.streams()

    def go_live(self) -> None:
        """Send what is new, too."""
        self._turns.go_live()

    def leave(self) -> None:
        """Follow nothing any more."""
        self._turns.leave()
