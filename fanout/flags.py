"""Which of its epochs a receiver wants, as the rows of its cursors say it: what is not wanted is not owed.

A row is made before its plan is known to the end, and plans change while a session goes on; so rows are made to say it
behind that, of all streams of a session in one statement.
"""

import asyncio
from collections.abc import Iterable, Mapping

from fanout.node import Node
from fanout.store import cursors as store
from fanout.subscription import Subscription
from shared.db.errors import DatabaseUnavailable, RowLocked
from shared.log import get_logger
from shared.protocol.v1 import StreamRef

__all__ = ["AGAIN_S", "Flags"]

# After a row that an administrator holds: each try waits for the lock, half a second.
AGAIN_S = 5.0

log = get_logger(__name__)


class Flags:
    """The streams of a session of whose epochs the rows may not say yet which are wanted: `due`.

    news: set when some have become due by themselves.
    """

    def __init__(
        self,
        node: Node,
        subscriptions: Mapping[StreamRef, Subscription],
        news: asyncio.Event,
        receiver_id: str,
    ) -> None:
        self.due: set[StreamRef] = set()
        self._node, self._subscriptions, self._news = node, subscriptions, news
        self._receiver_id = receiver_id

    async def write(self) -> None:
        """Have the rows say which epochs are wanted; those of a stream that is locked say it later.
        DatabaseUnavailable, with all that was due still due.
        """
        changed = {ref: flags for ref in self.due if (flags := self._subscriptions[ref].flags())}
        # Before the rows are written: the epochs of whoever changes its plan meanwhile are looked at again.
        self.due = set()
        if not changed:
            return
        ids = {ref: self._subscriptions[ref].cursor_ids for ref in changed}
        by_id = {ids[ref][epoch]: wanted for ref, flags in changed.items() for epoch, wanted in flags.items()}
        try:
            await store.flag_cursors(self._node.process.pool, by_id)
        except RowLocked as error:
            log.debug("flags_wait", receiver_id=self._receiver_id, error=str(error))
            asyncio.get_running_loop().call_later(AGAIN_S, self._again, changed.keys())
            return
        except DatabaseUnavailable:
            self.due |= changed.keys()
            raise
        # Behind the commit: a subscription that took it for said, and whose row does not, would never say it.
        for ref, flags in changed.items():
            self._subscriptions[ref].note_flags(flags)

    def _again(self, refs: Iterable[StreamRef]) -> None:
        self.due.update(refs)
        self._news.set()  # or a stream that is quiet would not be looked at
