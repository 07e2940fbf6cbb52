"""Two nodes of a fanout, one stream and one receiver, a step at a time: what is stored, sent, received, acked, written,
lost, deleted and restored happens when a test says so, and in no other order. And what must be true of it all.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import orjson

from fanout.node import Node
from fanout.session import Following
from fanout.settings import FanoutSettings
from shared.db.connections import Connection, Pool
from shared.db.errors import DatabaseUnavailable
from shared.db.poll_loop import PollLoop
from shared.protocol.v1 import AckEntry, StreamRef
from shared.runtime.process import Process
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity
from shared.wake import Stop
from tests.delivery import stored
from tests.fanout.failing import FailingPool

__all__ = ["EPOCHS", "RECEIVER", "Event", "Session", "Socket", "World"]

Event = tuple[int, int]  # (epoch, seq)

EPOCHS = (1, 2)
RECEIVER = "tent"

# What stream_metrics says of gaps, as the drain keeps it.
_MISSING = """
UPDATE stream_metrics AS epoch
SET missing = int8multirange(int8range(1, last_seq + 1)) - (
    SELECT range_agg(int8range(seq, seq + 1)) FROM events
    WHERE events.stream_id = epoch.stream_id AND events.stream_epoch = epoch.stream_epoch)
WHERE stream_id = $1
"""
# What the rule says is owed, event by event; and whether all rows say how many events they cover.
_OWED = """
SELECT count(*) FILTER (WHERE coalesce(wanted, true)
                          AND (cursor_id IS NULL OR seq > last_seq OR events.position > cursors.position)) AS owed,
       coalesce(bool_and(cursor_id IS NULL OR event_count IS NOT NULL), true) AS counted
FROM events LEFT JOIN receiver_cursors AS cursors USING (stream_id, stream_epoch)
WHERE stream_id = $1 AND coalesce(receiver_id = $2, true)
"""
_BEHIND = "SELECT behind FROM receiver_streams WHERE receiver_id = $2 AND stream_id = $1"
_TABLES = ("streams", "events", "stream_metrics", "receiver_cursors")


class Socket:
    """A receiver's end of a connection: messages lie in it until the receiver takes them, or it is cut."""

    def __init__(self) -> None:
        self.session_id = uuid4()
        self.messages: list[list[Event]] = []
        self.on_pong: Any = None

    async def send(self, message: bytes) -> None:
        events = orjson.loads(message)["events"]
        self.messages.append([(each["stream_epoch"], each["seq"]) for each in events])


@dataclass
class Session:
    """A connection of the receiver to a node."""

    node: int
    following: Following
    socket: Socket
    acks: list[dict[int, int]] = field(default_factory=list)  # that are on their way


class World:
    """Two nodes, one stream, one receiver, and what must be true of them."""

    def __init__(
        self, pool: Pool, database: Connection, stream_id: UUID, ref: StreamRef, *, resumes: bool
    ) -> None:
        self.failing = FailingPool(pool)
        self.pool, self.database, self.stream_id, self.ref = (
            cast("Pool", self.failing),
            database,
            stream_id,
            ref,
        )
        self.resumes = resumes
        self.nodes = [self._node(), self._node()]
        self.sessions: list[Session] = []
        self.had: set[Event] = set()  # by the receiver, since it was last told that it has nothing
        self.claimed: set[Event] = set()  # by its resumes alone
        self.last_seqs: dict[int, int] = {}  # what it would resume
        self.backup: tuple[set[Event], list[list[asyncpg.Record]]] | None = None
        self.had_at_backup: set[Event] = set()  # or was claimed

    def _node(self) -> Node:
        stop = Stop()
        process = cast(
            "Process",
            SimpleNamespace(
                pool=self.pool,
                stop=stop,
                loop=partial(PollLoop, stop=stop),
                settings=FanoutSettings.read({"database_url": "postgresql://nobody@nowhere/x"}),
                listener=SimpleNamespace(on=lambda *_: None),
            ),
        )
        node = Node.of(process, cast("FanoutSettings", process.settings))
        node.tails.link = cast("Any", SimpleNamespace(get=self._link, drop=lambda: None))
        return node

    async def _link(self) -> Connection:
        return self.database

    # --- what happens ---

    async def store(self, epoch: int, seqs: list[int]) -> None:
        known = await self.stored()
        new = [(epoch, seq, b"aa") for seq in dict.fromkeys(seqs) if (epoch, seq) not in known]
        if new:
            await stored.store(self.database, self.stream_id, new, notify=False)
            await self.database.execute(_MISSING, self.stream_id)

    async def connect(self, node: int) -> None:
        # A box of the first generation has one connection; one that resumes would contradict itself with two.
        if len(self.sessions) >= (1 if self.resumes else 2):
            return
        session = Session(node, cast("Following", None), Socket())
        identity = Identity(uuid4(), RECEIVER, frozenset(), RECEIVER)
        session.following = Following(cast("DeviceConnection", session.socket), identity, self.nodes[node])
        self.sessions.append(session)
        if self.resumes and self.last_seqs:
            await self._note_claims()
            await session.following.resume(
                [AckEntry(*self._names(), epoch, seq) for epoch, seq in self.last_seqs.items()]
            )
        session.following.subscribe(self.ref)
        await self.nodes[node].tails.look_up([self.ref])
        await session.following.turns.begin()

    async def _note_claims(self) -> None:
        """What lies at or below a resume and our record's position is the receiver's own word, and so is what is older
        than a resume where there is no record.
        """
        rows = await self.database.fetch(
            "SELECT stream_epoch, last_seq, position FROM receiver_cursors WHERE stream_id = $1 AND last_seq > 0",
            self.stream_id,
        )
        records = {row["stream_epoch"]: row["position"] for row in rows}
        events = await self.database.fetch(
            "SELECT stream_epoch, seq, position FROM events WHERE stream_id = $1", self.stream_id
        )
        newest = {e: max((seq for of, seq, _ in events if of == e), default=-1) for e in EPOCHS}
        resumed = {e: seq for e, seq in self.last_seqs.items() if seq <= newest[e]}
        for epoch, seq, position in events:
            believed = epoch not in records or position <= records[epoch]
            older = epoch not in resumed and epoch not in records and epoch < max(resumed, default=0)
            if older or (seq <= resumed.get(epoch, 0) and believed):
                self.claimed.add((epoch, seq))

    async def send(self, which: int, limit: int) -> None:
        if session := self._session(which):
            await session.following.turns.begin()
            taken = await session.following.turns.gather(limit)
            if taken:
                await session.following.sender.send(taken)

    async def fail(self, which: int, limit: int, failure: str, after: int) -> None:
        """Send, while one statement fails: that behind so many others. What rests for it does so for a moment only."""
        if session := self._session(which):
            await self.look(session.node)
            self.failing.fail(failure, after)
            with suppress(DatabaseUnavailable):
                await self.send(which, limit)
            self.failing.mend()
            turns = session.following.turns
            for ref in list(turns.resting):
                turns.rested(ref)
            turns.flags.due |= turns.subscriptions.keys()

    async def receive(self, which: int, messages: int) -> None:
        """The receiver takes messages, and an ack of each is on its way."""
        if session := self._session(which):
            for message in session.socket.messages[:messages]:
                self.had |= set(message)
                highest: dict[int, int] = {}
                for epoch, seq in message:
                    highest[epoch] = max(seq, highest.get(epoch, 0))
                    self.last_seqs[epoch] = max(seq, self.last_seqs.get(epoch, 0))
                session.acks.append(highest)
            del session.socket.messages[:messages]

    async def ack(self, which: int, messages: int) -> None:
        if session := self._session(which):
            for highest in session.acks[:messages]:
                session.following.sender.ack(
                    [AckEntry(*self._names(), epoch, seq) for epoch, seq in highest.items()]
                )
            del session.acks[:messages]

    async def deliver(self, which: int, messages: int) -> None:
        """All goes well for a while, and is recorded."""
        await self._somebody()
        if session := self._session(which):
            await self.look(session.node)
            for _ in range(messages):
                await self.send(which, 3)
            await self.receive(which, messages)
            await self.ack(which, messages)
            await self.write(session.node)

    async def flow(self, epoch: int, seqs: list[int], which: int) -> None:
        """Events are stored, and sent at once."""
        await self._somebody()
        await self.store(epoch, seqs)
        if session := self._session(which):
            await self.look(session.node)
            await self.send(which, 3)

    async def take(self, which: int, messages: int, acks: int) -> None:
        """The receiver takes some messages, and some acks arrive and are recorded."""
        await self.receive(which, messages)
        await self.ack(which, acks)
        if session := self._session(which):
            await self.write(session.node)

    async def look(self, node: int) -> None:
        await self.nodes[node].tails.read()

    async def write(self, node: int) -> None:
        await self.nodes[node].cursors.flush()

    async def tell(self, node: int) -> None:
        """A node is told of a deletion."""
        self.nodes[node].cursors.look_at = 0.0
        await self.nodes[node].cursors.look_for_deletions()

    async def leave(self, which: int, written: bool) -> None:
        """The connection ends; what was not received is lost, and so are acks on their way."""
        if session := self._session(which):
            if written:
                await self.write(session.node)
            session.following.turns.leave()
            self.sessions.remove(session)

    async def die(self, node: int) -> None:
        """A node is killed: what it had not written is lost."""
        self.nodes[node] = self._node()
        self.sessions = [each for each in self.sessions if each.node != node]

    async def delete(self) -> None:
        """An administrator deletes the receiver's cursors: everything comes again."""
        await self.database.execute("DELETE FROM receiver_cursors WHERE stream_id = $1", self.stream_id)
        self.had, self.claimed = set(), set()

    async def forget(self, epoch: int, last_seq: int) -> None:
        """The receiver loses what it had beyond a number, and will say so."""
        if self.resumes and not self.sessions and self.last_seqs.get(epoch, 0) > last_seq:
            self.last_seqs[epoch] = last_seq
            self.had = {each for each in self.had if each[0] != epoch or each[1] <= last_seq}
            self.claimed = {each for each in self.claimed if each[0] != epoch or each[1] <= last_seq}

    async def save(self) -> None:
        """A backup is taken."""
        rows = [
            await self.database.fetch(f"SELECT * FROM {table} WHERE stream_id = $1", self.stream_id)
            for table in _TABLES
        ]
        self.backup = (await self.stored(), rows)
        self.had_at_backup = self.had | self.claimed

    async def restore(self, cursors: bool) -> None:
        """The backup comes back, with or without the cursors of its time; everything starts anew."""
        if self.backup is None:
            return
        for node in (0, 1):
            await self.die(node)
        for table, rows in list(zip(_TABLES, self.backup[1], strict=True))[1 : 4 if cursors else 3]:
            await self.database.execute(f"DELETE FROM {table} WHERE stream_id = $1", self.stream_id)
            if rows:
                columns = ", ".join(f"${n}" for n in range(1, len(rows[0]) + 1))
                await self.database.executemany(f"INSERT INTO {table} VALUES ({columns})", map(tuple, rows))
        await self.database.execute(
            "UPDATE streams SET last_position = $2 WHERE stream_id = $1",
            self.stream_id,
            self.backup[1][0][0]["last_position"],
        )
        if cursors:  # what was deleted since is as if it had not been
            self.had |= self.had_at_backup
        # Before anything else is stored: a cursor that is beyond what there is cannot be told from a good one later.
        await self.connect(0)

    async def _somebody(self) -> None:
        if not self.sessions:
            await self.connect(0)

    def _session(self, which: int) -> Session | None:
        return self.sessions[which % len(self.sessions)] if self.sessions else None

    def _names(self) -> tuple[str, str]:
        return self.ref.forwarder_id, self.ref.reader_ip

    # --- what must be true ---

    async def stored(self) -> set[Event]:
        rows = await self.database.fetch(
            "SELECT stream_epoch, seq FROM events WHERE stream_id = $1", self.stream_id
        )
        return {(row["stream_epoch"], row["seq"]) for row in rows}

    async def check_behind(self) -> None:
        """What operators are told is what the rule says."""
        owed, counted = await self.database.fetchrow(_OWED, self.stream_id, RECEIVER) or (0, True)
        behind = await self.database.fetchval(_BEHIND, self.stream_id, RECEIVER)
        if behind is not None and counted:
            assert behind == owed

    async def settle(self) -> None:
        """Let everything come to its end."""
        for node in (0, 1):
            await self.tell(node)
        if not self.sessions:
            await self.connect(0)
        for _ in range(3):  # a write may find a cursor deleted, and begin anew
            for node in (0, 1):
                await self.look(node)
            for which in range(len(self.sessions)):
                await self._drain(which)
            for node in (0, 1):
                await self.write(node)
                await self.tell(node)
        await self.check_missing()
        await self.check_nothing_behind()

    async def check_missing(self) -> None:
        """The receiver has had all that its own resume does not claim."""
        assert not await self.stored() - self.had - self.claimed

    async def check_nothing_behind(self) -> None:
        """And operators are told so."""
        await self.check_behind()
        assert not await self.database.fetchval(_BEHIND, self.stream_id, RECEIVER)

    async def _drain(self, which: int) -> None:
        session = self.sessions[which]
        while True:
            await self.receive(which, 1_000)
            await self.ack(which, 1_000)
            await self.send(which, 100)
            if not (session.socket.messages or await self._look_when_woken(session.node)):
                return

    async def _look_when_woken(self, node: int) -> bool:
        """A tail that had run ahead of its receivers asks to be read on; whether one did."""
        tails = self.nodes[node].tails
        woken_for, tails.named = tails.named, set()
        if woken_for:
            await tails.read(woken_for)
        return bool(woken_for)
