"""Forwarders and a receiver for measurements: real lines, real batches, little else.

`Drainer` has a backlog and sends it stop-and-wait, as the ones in the field do. `Ticker` sends what becomes due at
given times, stop-and-wait too: what becomes due while an ack is outstanding goes into the next batch, and its time
counts from when it was due, so a slow server cannot hide behind its own slowness. `Witness` is a receiver of all
streams that acks, and finds any event that is missing, doubled or out of order.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import orjson

from shared.protocol.ipico import compose
from tests.bench.sockets import BareSocket, frame

__all__ = ["READER", "Drainer", "Forwarder", "Ticker", "Witness", "lines", "streams"]

READER = "10.0.0.1:10000"

_ACK = b'{"kind":"forwarder_ack"'
_HEARTBEAT = b'{"kind":"heartbeat"'
_HELLO = frame(orjson.dumps({"kind": "forwarder_hello", "forwarder_id": "", "reader_ips": [READER]}))
_EVENT = (
    '{{"forwarder_id":"","reader_ip":"' + READER + '","stream_epoch":1,"seq":{seq},'
    '"reader_timestamp":"{at}","raw_read_line":"{line}","read_type":"raw"}}'
)


def lines(count: int) -> list[str]:
    """Return real lines of as many chips, a hundredth of a second apart."""
    began = datetime(2026, 2, 22, 10, 11, 12)  # noqa: DTZ001 - a reader's clock has no zone
    return [
        compose(reader_id="01", tag_id=f"{n:012x}", read_at=began + timedelta(milliseconds=10 * n))
        for n in range(count)
    ]


_LINES = lines(1_000)


# As newer forwarders send it.
_FRAME_EVENT = _EVENT.replace(
    '"raw_read_line":"{line}","read_type":"raw"', '"raw_frame":[{line}],"read_type":"RAW"'
)
_FRAMES = [",".join(map(str, f"{line}\r\n".encode())) for line in _LINES]


def batch(seqs: Sequence[int], ats: Sequence[str], *, framed: bool = False) -> bytes:
    """Return the frame of a batch, with what its reader's timestamps should say; framed: lines as bytes."""
    event, said = (_FRAME_EVENT, _FRAMES) if framed else (_EVENT, _LINES)
    events = ",".join(
        event.format(seq=seq, at=at, line=said[seq % len(said)]) for seq, at in zip(seqs, ats, strict=True)
    )
    return frame(
        f'{{"kind":"forwarder_event_batch","session_id":"","batch_id":"","events":[{events}]}}'.encode()
    )


def streams(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the streams of forwarders by their names."""
    return [(name, READER) for name in names]


class Forwarder(BareSocket):
    """A forwarder that says hello; subclasses say what an ack leads to."""

    path = "/ws/v1/forwarders"

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.greeted = asyncio.Event()
        self.acks_s: list[float] = []  # from due to acked, of each event
        self.events = self.batches = 0  # acked

    def opened(self) -> None:
        self.write(_HELLO)

    def message(self, payload: bytes) -> None:
        if payload.startswith(_ACK):
            self.batches += 1
            self.acked()
        elif payload.startswith(_HEARTBEAT):
            self.greeted.set()
        else:
            raise AssertionError(payload.decode())

    def acked(self) -> None:
        """The outstanding batch is acked."""


class Drainer(Forwarder):
    """Sends so many events in batches of one size, of either generation; `drained` is when all are acked."""

    def __init__(
        self, token: str, *, events: int, size: int, first_seq: int = 1, framed: bool = False
    ) -> None:
        super().__init__(token)
        self.drained = asyncio.Event()
        self.backlog = events
        end = first_seq + events
        self._seqs = [range(start, min(start + size, end)) for start in range(first_seq, end, size)]
        self._frames: Iterator[bytes] = (_undated(seqs, framed=framed) for seqs in self._seqs)
        self._outstanding = 0
        self._sent_at = 0.0

    def prepare(self) -> None:
        """Make all batches now: measured is the server, not the making of its load."""
        self._frames = iter(list(self._frames))

    def start(self) -> None:
        """Send the first batch; the others follow their acks."""
        self._next()

    def acked(self) -> None:
        self.acks_s.append(time.perf_counter() - self._sent_at)
        self.events += len(self._seqs[self._outstanding])
        self._outstanding += 1
        self._next()

    def _next(self) -> None:
        framed = next(self._frames, None)
        if framed is None:
            self.drained.set()
            return
        self._sent_at = time.perf_counter()
        self.write(framed)


def _undated(seqs: range, *, framed: bool) -> bytes:
    return batch(seqs, ["2026-02-22T10:11:12.340"] * len(seqs), framed=framed)


class Ticker(Forwarder):
    """Sends each event as soon as it is due and nothing is outstanding."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self._due: deque[float] = deque()
        self._outstanding: list[float] = []
        self._last_seq = 0

    @property
    def idle(self) -> bool:
        """Whether everything that was due is acked."""
        return not (self._due or self._outstanding)

    def due(self, at: float) -> None:
        """An event is due at `at` (time.perf_counter)."""
        self._due.append(at)
        if not self._outstanding:
            self._next()

    def acked(self) -> None:
        now = time.perf_counter()
        self.acks_s += [now - at for at in self._outstanding]
        self.events += len(self._outstanding)
        self._outstanding = []
        if self._due:
            self._next()

    def _next(self) -> None:
        self._outstanding = list(self._due)
        self._due.clear()
        first, self._last_seq = self._last_seq + 1, self._last_seq + len(self._outstanding)
        self.write(batch(range(first, self._last_seq + 1), [f"{at:.6f}" for at in self._outstanding]))


class Witness(BareSocket):
    """One receiver of all streams; `timed` when reader timestamps are times of time.perf_counter."""

    path = "/ws/v1/receivers"

    def __init__(self, token: str, names: Sequence[str], *, timed: bool = False) -> None:
        super().__init__(token)
        self.greeted = asyncio.Event()
        self.events = 0
        self.wrong = 0  # events that were not the next one of their stream
        self.delays_s: list[float] = []
        self.timed = timed
        self._last_seqs = dict.fromkeys(names, 0)
        named = [{"forwarder_id": name, "reader_ip": reader_ip} for name, reader_ip in streams(names)]
        self._subscribe = frame(
            orjson.dumps({"kind": "receiver_subscribe", "session_id": "", "streams": named})
        )

    def opened(self) -> None:
        self.write(frame(orjson.dumps({"kind": "receiver_hello", "receiver_id": ""})))

    def message(self, payload: bytes) -> None:
        if payload.startswith(_HEARTBEAT):
            if not self.greeted.is_set():
                self.greeted.set()
                self.write(self._subscribe)
            return
        now = time.perf_counter()
        acks: dict[str, int] = {}
        events = orjson.loads(payload)["events"]
        for event in events:
            name, seq = event["forwarder_id"], event["seq"]
            self.wrong += seq != self._last_seqs[name] + 1
            self._last_seqs[name] = acks[name] = seq
        if self.timed:
            self.delays_s += [
                now - float(event["reader_timestamp"])
                for event in events
                if event["reader_timestamp"][4] != "-"
            ]
        self.events += len(events)
        entries = [
            {"forwarder_id": name, "reader_ip": READER, "stream_epoch": 1, "last_seq": seq}
            for name, seq in acks.items()
        ]
        self.write(frame(orjson.dumps({"kind": "receiver_ack", "session_id": "", "entries": entries})))
