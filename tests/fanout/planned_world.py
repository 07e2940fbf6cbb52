"""The world of test_property.py with receivers that want some epochs only: from a floor on, or those of a race, which
change. What must be true besides: nothing comes that is not wanted, in the end nothing is missing that is, and what a
session had begun with the next one still wants.
"""

from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from fanout.allowance import Allowance
from fanout.generation import SECOND
from fanout.modes.mode import by_stream
from fanout.modes.race import RaceMode
from fanout.pace import Pace
from fanout.plans.live import FromFloor
from fanout.sender import Sender
from fanout.session import Following
from fanout.store.races import RaceMapping
from fanout.subscription import Subscription
from fanout.turns import Turns
from shared.db.connections import Connection, Pool
from shared.protocol.v1 import AckEntry, StreamRef
from shared.transport.connection import DeviceConnection
from tests.fanout.world import EPOCHS, RECEIVER, Event, Session, Socket, World

__all__ = ["KINDS", "PlannedWorld"]

KINDS = ("first", "live", "race")

# What our record and the receiver say of each epoch, and what is stored of it.
_FACTS = """
SELECT stream_epoch, max(seq) AS newest, (SELECT last_seq FROM receiver_cursors AS own
                                          WHERE own.stream_id = $1 AND own.stream_epoch = events.stream_epoch) AS acked
FROM events WHERE stream_id = $1 GROUP BY stream_epoch
"""


@dataclass
class Planned:
    """A session of the second generation, as far as a world uses it."""

    turns: Turns
    sender: Sender
    plan: FromFloor | None = None
    race: RaceMode | None = None


class PlannedWorld(World):
    """A world whose sessions are of several kinds. kind: of those that come by themselves."""

    def __init__(
        self,
        pool: Pool,
        database: Connection,
        stream_id: UUID,
        ref: StreamRef,
        *,
        resumes: bool,
        kind: str,
        earliest: int | None,
    ) -> None:
        super().__init__(pool, database, stream_id, ref, resumes=resumes)
        self.kind, self.earliest = kind, earliest
        self.mapped: frozenset[int] = frozenset()
        self.implied: set[Event] = set()  # by resumes of newer epochs alone
        self.kinds = {kind}
        self.begun: int | None = None  # the lowest epoch that live sessions have begun with

    # --- what happens ---

    async def connect(self, node: int, kind: str | None = None) -> None:
        kind = kind or self.kind
        if len(self.sessions) >= (1 if self.resumes else 2):
            return
        if kind == "first":
            claimed = set(self.claimed)
            await super().connect(node)
            self.implied |= self._implied_of(self.claimed - claimed)
            self.claimed -= self.implied
        else:
            await self._connect_planned(node, kind)
        self.kinds.add(kind)

    def _implied_of(self, claims: set[Event]) -> set[Event]:
        """What is claimed of epochs that the resume does not name was only concluded."""
        return {each for each in claims if each[1] > self.last_seqs.get(each[0], 0)}

    async def _connect_planned(self, node: int, kind: str) -> None:
        socket = Socket()
        resume = {}
        if self.resumes and self.last_seqs:
            await self._note_named(implied_counts=kind == "live")
            resume = by_stream(AckEntry(*self._names(), epoch, seq) for epoch, seq in self.last_seqs.items())
        planned = self._planned(node, socket, kind, resume)
        session = Session(node, cast("Following", planned), socket)
        self.sessions.append(session)
        await self.nodes[node].tails.look_up([self.ref])
        await self._begin(session)

    def _planned(
        self, node: int, socket: Socket, kind: str, resume: dict[StreamRef, dict[int, int]]
    ) -> Planned:
        connection, at = cast("DeviceConnection", socket), self.nodes[node]
        allowance = Allowance(connection, at.settings, Pace(at.settings, 0), asks_first=True)
        named = {"receiver_id": RECEIVER, "session_id": socket.session_id, "in_flight": allowance.in_flight}
        turns = Turns(at, SECOND, **cast("Any", named))
        planned = Planned(turns, Sender(connection, turns, allowance, receiver_id=RECEIVER))
        if kind == "live":
            planned.plan = FromFloor(self.earliest)
            turns.subscribe(self.ref, planned.plan, dict(resume.get(self.ref, {})))
        else:
            planned.race = RaceMode(at, turns, "", resume)
            planned.race.remap(self._mapping())
        return planned

    async def _note_named(self, *, implied_counts: bool) -> None:
        """A resume counts for the epochs that it names, up to the position of our record where there is one."""
        rows = await self.database.fetch(
            "SELECT stream_epoch, position, implied FROM receiver_cursors WHERE stream_id = $1 AND last_seq > 0",
            self.stream_id,
        )
        records = {
            row["stream_epoch"]: row["position"] for row in rows if implied_counts or not row["implied"]
        }
        events = await self.database.fetch(
            "SELECT stream_epoch, seq, position FROM events WHERE stream_id = $1", self.stream_id
        )
        newest = {e: max((seq for of, seq, _ in events if of == e), default=-1) for e in EPOCHS}
        for epoch, seq, position in events:
            resumed = self.last_seqs.get(epoch, 0)
            if seq <= resumed <= newest[epoch] and position <= records.get(epoch, position):
                self.claimed.add((epoch, seq))

    def _mapping(self) -> RaceMapping:
        return RaceMapping(True, {self.ref: self.mapped} if self.mapped else {})

    async def map(self, epochs: list[int]) -> None:
        """The race has these epochs now."""
        self.mapped = frozenset(epochs)
        for session in self.sessions:
            if (race := self._planned_of(session).race) is not None:
                race.remap(self._mapping())
                # A stream that is followed from now on is looked up at once.
                await self.nodes[session.node].tails.look_up([self.ref])

    async def command(self) -> None:
        """A device is told to begin another epoch, of which there is no event yet."""
        await self.database.execute(
            "UPDATE streams SET stream_epoch = least(stream_epoch + 1, $2) WHERE stream_id = $1",
            self.stream_id,
            EPOCHS[-1],
        )

    async def delete(self) -> None:
        await super().delete()
        self.implied, self.begun = set(), None

    async def restore(self, cursors: bool) -> None:
        self.begun = None
        await super().restore(cursors)

    async def forget(self, epoch: int, last_seq: int) -> None:
        await super().forget(epoch, last_seq)
        if self.last_seqs.get(epoch, 0) <= last_seq:
            self.implied = {each for each in self.implied if each[0] != epoch or each[1] <= last_seq}

    async def receive(self, which: int, messages: int) -> None:
        """It resumes as real ones do: one cursor of a stream, of the highest epoch that it has anything of."""
        await super().receive(which, messages)
        if self.last_seqs:
            newest = max(self.last_seqs)
            self.last_seqs = {newest: self.last_seqs[newest]}

    async def send(self, which: int, limit: int) -> None:
        if session := self._session(which):
            await self._begin(session)
            before = len(session.socket.messages)
            taken = await session.following.turns.gather(limit)
            if taken:
                await session.following.sender.send(taken)
            for message in session.socket.messages[before:]:
                assert all(self._is_wanted(session, epoch) for epoch, _ in message), (message, self.mapped)

    async def _begin(self, session: Session) -> None:
        """Begin, and make sure that a floor is what the rule says."""
        plan = self._planned_of(session).plan
        subscription = session.following.turns.subscriptions.get(self.ref)
        if plan is None or subscription is None or not subscription.awaits_start:
            await session.following.turns.begin()
            return
        expected = await self._floor(subscription)
        if plan.floor is not None:  # it is never raised while the receiver is there
            expected = min(expected, plan.floor)
        turns = session.following.turns
        await turns.begin()
        if not turns.subscriptions[self.ref].awaits_start:  # else a row is locked
            assert plan.floor == expected
            # Other kinds of sessions say that other epochs are wanted; and a row that is locked says nothing yet.
            if self.kinds <= {"live"} and not turns.flags.due:
                assert self.begun is None or max(1, expected) <= self.begun
                self.begun = max(1, expected)

    async def _floor(self, subscription: Subscription) -> int:
        """The lowest epoch with an ack or a resume; without any what is asked for, at most the current one. Who begins
        anew has neither. And none that a row says is wanted lies below.
        """
        facts = await self.database.fetch(_FACTS, self.stream_id)
        current: int = await self.database.fetchval(
            "SELECT stream_epoch FROM streams WHERE stream_id = $1", self.stream_id
        )
        newest = {row["stream_epoch"]: row["newest"] for row in facts}
        with_any: set[int] = {
            row["stream_epoch"] for row in facts if 0 < (row["acked"] or 0) <= row["newest"]
        }
        for epoch, seq in subscription.resume.items():
            if (seq == 0 and epoch <= current) or 0 < seq <= newest.get(epoch, 0):
                with_any.add(epoch)
        if subscription.restarts:
            with_any = set()
        rows = await self.database.fetch(
            "SELECT stream_epoch FROM receiver_cursors WHERE stream_id = $1 AND wanted", self.stream_id
        )
        known = with_any or {current if self.earliest is None else min(self.earliest, current)}
        begun: set[int] = {row["stream_epoch"] for row in rows}
        return min(known | begun)

    def _planned_of(self, session: Session) -> Planned:
        following: Any = session.following
        return following if isinstance(following, Planned) else Planned(following.turns, following.sender)

    # --- what must be true ---

    def _is_wanted(self, session: Session, epoch: int) -> bool:
        planned = self._planned_of(session)
        if planned.race is not None:
            return epoch in self.mapped
        return planned.plan is None or planned.plan.wants(epoch)

    async def check_missing(self) -> None:
        stored = await self.stored()
        for session in self.sessions:
            wanted = {each for each in stored if self._is_wanted(session, each[0])}
            known = self.had | self.claimed
            if self._planned_of(session).race is None:
                known |= self.implied
            assert not wanted - known

    async def check_nothing_behind(self) -> None:
        """Sessions of several kinds want different things, and the rows say what the last of them does."""
        if len(self.kinds) == 1:
            await super().check_nothing_behind()
