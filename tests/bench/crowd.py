"""Many receivers in one process, as cheap as can be.

They ack each batch, whose last event they find without parsing the rest.
"""

import asyncio
import time
from collections.abc import Sequence

import orjson

from tests.bench.sockets import BareSocket, connect, frame
from tests.waiting import wait_until

__all__ = ["Crowd", "Member", "MemberV12"]

_HELLO = frame(orjson.dumps({"kind": "receiver_hello", "receiver_id": "receiver-main"}))
_BATCH = b'{"kind":"receiver_event_batch"'
_HEARTBEAT = b'{"kind":"heartbeat"'
# Reading the time off every message would cost more than counting it.
_TIMED_ONE_IN = 8


class Member(BareSocket):
    """One receiver."""

    path = "/ws/v1/receivers"

    def __init__(self, crowd: "Crowd", token: str) -> None:
        super().__init__(token)
        self.events = 0
        self.last_seq = 0
        self._crowd = crowd

    def opened(self) -> None:
        self.write(self._crowd.hello)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._crowd.lost += 1

    def message(self, payload: bytes) -> None:
        if payload.startswith(_BATCH):
            self._take_batch(payload)
        elif payload.startswith(_HEARTBEAT) and not self._crowd.heartbeat(self) and not self._crowd.second:
            self.write(self._crowd.subscribe)

    def _take_batch(self, payload: bytes) -> None:
        at = payload.rfind(b'"seq":') + 6
        self.last_seq = int(payload[at : payload.find(b",", at)])
        count = payload.count(b'"seq":')
        self.events += count
        self._crowd.count(count, payload)
        if self._crowd.acks:
            self.write(frame(b"%b%d}]}" % (self._crowd.ack, self.last_seq)))


class MemberV12(Member):
    """One receiver of the second generation."""

    path = "/ws/v1.2/receivers"


class Crowd:
    """Receivers of one server, all of the same streams, of which the first is the one that sends, in one epoch.

    second: whether they are of the second generation.
    """

    def __init__(
        self, url: str, streams: Sequence[tuple[str, str]], *, acks: bool = True, second: bool = False
    ) -> None:
        self.acks = acks
        self.events = self.messages = self.lost = 0
        self.latencies_s: list[float] = []
        self.members: list[Member] = []
        self._url = url
        named = [
            {"forwarder_id": forwarder_id, "reader_ip": reader_ip} for forwarder_id, reader_ip in streams
        ]
        self.subscribe = frame(
            orjson.dumps({"kind": "receiver_subscribe", "session_id": "", "streams": named})
        )
        self.second = second
        mode = {
            "mode": "live",
            "streams": named,
            "earliest_epochs": [{**each, "earliest_epoch": 0} for each in named],
        }
        hello = {"kind": "receiver_hello_v12", "receiver_id": "", "mode": mode}
        self.hello = frame(orjson.dumps(hello)) if second else _HELLO
        entry = orjson.dumps({**named[0], "stream_epoch": 1, "last_seq": 0}).removesuffix(b"0}")
        self.ack = b'{"kind":"receiver_ack","session_id":"","entries":[' + entry
        self._greeted: set[Member] = set()

    async def join(self, tokens: Sequence[str], *, at_once: int = 50) -> None:
        """Connect one more member for each token, so many at a time, and wait until all are greeted."""
        until = len(self._greeted) + len(tokens)
        for start in range(0, len(tokens), at_once):
            kind = MemberV12 if self.second else Member
            joining = [connect(kind(self, token), self._url) for token in tokens[start : start + at_once]]
            self.members += await asyncio.gather(*joining)
        await wait_until(lambda: len(self._greeted) >= until, deadline_s=60, what="all to be greeted")

    def heartbeat(self, member: Member) -> bool:
        """Whether the member has had one before."""
        known = member in self._greeted
        self._greeted.add(member)
        return known

    def count(self, events: int, payload: bytes) -> None:
        """Count a batch; its latency when the reader's timestamp of its last event is a time in seconds."""
        self.events += events
        self.messages += 1
        if self.messages % _TIMED_ONE_IN:
            return
        at = payload.rfind(b'"reader_timestamp":"') + 20
        text = payload[at : payload.find(b'"', at)]
        if text.replace(b".", b"").isdigit():
            self.latencies_s.append(time.time() - float(text))

    def leave(self) -> None:
        """Drop all connections."""
        for member in self.members:
            member.close()
        self.members.clear()
        self._greeted.clear()
