"""What a forwarder keeps: every read it took, under the identity it gave it, and how far the server acked.

Nothing leaves in a batch that is not in the journal. With a path the journal is a file that outlives a killed
process, and whoever opens it again goes on with the next seq and sends again what was not acked; without one
it lives in memory. It knows nothing of connections.
"""

import heapq
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

__all__ = ["Event", "Journal", "open_database"]

# Rows are kept in the order of their identity, which is the order of sending. A read that was not in a batch
# yet may be lost with the process: nobody has seen it, so its seq is free.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS readers (
    reader_ip TEXT PRIMARY KEY, stream_epoch INTEGER, acked_epoch INTEGER, acked_seq INTEGER);
CREATE TABLE IF NOT EXISTS events (
    reader_ip TEXT, stream_epoch INTEGER, seq INTEGER,
    reader_timestamp TEXT, raw_read_line TEXT, read_type TEXT, recorded_at REAL,
    PRIMARY KEY (reader_ip, stream_epoch, seq)) WITHOUT ROWID;
"""
_PUT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_READER = "INSERT OR REPLACE INTO readers VALUES (?, ?, ?, ?)"
_EVENTS = "SELECT * FROM events WHERE reader_ip = ? ORDER BY stream_epoch, seq"
_EVENTS_AFTER = (
    "SELECT * FROM events WHERE reader_ip = ? AND (stream_epoch, seq) > (?, ?) ORDER BY stream_epoch, seq"
)
_NEWEST_ACKED = (
    "SELECT * FROM events WHERE reader_ip = ? AND (stream_epoch, seq) <= (?, ?)"
    " ORDER BY stream_epoch DESC, seq DESC LIMIT ?"
)
_ONE_EVENT = "SELECT * FROM events WHERE reader_ip = ? AND stream_epoch = ? AND seq = ?"
_COUNT_EVENTS = "SELECT count(*) FROM events WHERE reader_ip = ?"
_LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM events WHERE reader_ip = ? AND stream_epoch = ?"


class Event(NamedTuple):
    """A read with its identity; `recorded_at` is this machine's time in seconds since 1970."""

    reader_ip: str
    stream_epoch: int
    seq: int
    reader_timestamp: str
    raw_read_line: str
    read_type: str
    recorded_at: float


@dataclass(slots=True)
class _Reader:
    """Where one reader's numbering stands, what of it waits for its ack, and its two counts."""

    stream_epoch: int = 1
    last_seq: int = 0
    acked: tuple[int, int] = (0, 0)
    recorded_reads: int = 0
    acked_reads: int = 0
    pending: deque[Event] = field(default_factory=deque)


class Journal:
    """The reads of one forwarder; `path` names its file, None keeps it in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = open_database(path, _SCHEMA)
        self._unsaved: list[Event] = []
        self._readers: dict[str, _Reader] = {}
        self.abandoned = 0
        self._load()

    @property
    def backlog(self) -> int:
        """Reads that wait for their ack."""
        return sum(len(reader.pending) for reader in self._readers.values())

    def reads(self, reader_ip: str) -> tuple[int, int]:
        """How many reads of one reader were recorded, and how many of them acked."""
        reader = self._reader(reader_ip)
        return reader.recorded_reads, reader.acked_reads

    def epoch(self, reader_ip: str) -> int:
        """The epoch that the reader's next read will have."""
        return self._reader(reader_ip).stream_epoch

    def append(self, reader_ip: str, raw_line: str, *, reader_timestamp: str, read_type: str) -> Event:
        """Record a read under the reader's next seq."""
        reader = self._reader(reader_ip)
        reader.last_seq += 1
        reader.recorded_reads += 1
        event = Event(
            reader_ip,
            reader.stream_epoch,
            reader.last_seq,
            reader_timestamp,
            raw_line,
            read_type,
            time.time(),
        )
        self._unsaved.append(event)
        if (event.stream_epoch, event.seq) > reader.acked:
            reader.pending.append(event)
        else:  # Told to number below what is acked, a device takes its new reads for acked ones.
            self.abandoned += 1
        return event

    def batch(self, limit: int) -> list[Event]:
        """Return the oldest reads that wait for their ack, at most `limit`, saved before anyone sees them."""
        self._save()
        pending = (reader.pending for reader in self._readers.values())
        return list(islice(heapq.merge(*pending, key=attrgetter("recorded_at")), limit))

    def ack(self, reader_ip: str, stream_epoch: int, last_seq: int) -> int:
        """Move the reader's cursor, only ever forward; return how many reads that acked.

        A cursor that enters a later epoch leaves what was unacked of earlier ones behind, as `abandoned`.
        """
        reader = self._reader(reader_ip)
        if (stream_epoch, last_seq) <= reader.acked:
            return 0
        reader.acked = (stream_epoch, last_seq)
        passed: list[Event] = []
        while reader.pending and reader.pending[0][1:3] <= reader.acked:
            passed.append(reader.pending.popleft())
        acked = sum(event.stream_epoch == stream_epoch for event in passed)
        reader.acked_reads += acked
        self.abandoned += len(passed) - acked
        self._save_reader(reader_ip)
        return acked

    def forget_acks(self, reads: int) -> None:
        """Take up to so many of each reader's newest acked reads for unacked: they are sent again, before others."""
        for reader_ip, reader in self._readers.items():
            self._save()
            rows = self._database.execute(_NEWEST_ACKED, (reader_ip, *reader.acked, reads))
            again = [Event._make(row) for row in rows][::-1]
            if again:
                # In one epoch, in which the cursor stands: what lies before it stays acked.
                again = [each for each in again if each.stream_epoch == again[-1].stream_epoch]
                reader.acked = (again[0].stream_epoch, again[0].seq - 1)
                reader.acked_reads -= len(again)
                reader.pending.extendleft(reversed(again))

    def turn_epoch(self, reader_ip: str, stream_epoch: int) -> None:
        """Number the reader's next reads from 1 in `stream_epoch`, whatever it is."""
        reader = self._reader(reader_ip)
        reader.stream_epoch, reader.last_seq = stream_epoch, 0
        self._save_reader(reader_ip)

    def wipe(self) -> None:
        """Lose everything: numbering starts again at epoch 1, seq 1."""
        self._unsaved.clear()
        self._readers.clear()
        self._database.executescript("DELETE FROM events; DELETE FROM readers;")

    def events(self, reader_ip: str) -> Iterator[Event]:
        """Yield all reads of one reader in the order of (epoch, seq)."""
        self._save()
        return map(Event._make, self._database.execute(_EVENTS, (reader_ip,)))

    def find(self, reader_ip: str, stream_epoch: int, seq: int) -> Event | None:
        """Return the read of that identity."""
        self._save()
        row = self._database.execute(_ONE_EVENT, (reader_ip, stream_epoch, seq)).fetchone()
        return None if row is None else Event._make(row)

    def close(self) -> None:
        """Save what is left and release the file."""
        self._save()
        self._database.close()

    def _reader(self, reader_ip: str) -> _Reader:
        return self._readers.setdefault(reader_ip, _Reader())

    def _save(self) -> None:
        if self._unsaved:
            with self._database:
                self._database.executemany(_PUT_EVENT, self._unsaved)
            self._unsaved.clear()

    def _save_reader(self, reader_ip: str) -> None:
        reader = self._reader(reader_ip)
        with self._database:
            self._database.execute(_PUT_READER, (reader_ip, reader.stream_epoch, *reader.acked))

    def _load(self) -> None:
        for reader_ip, stream_epoch, *acked in self._database.execute("SELECT * FROM readers"):
            self._readers[reader_ip] = _Reader(stream_epoch, acked=(acked[0], acked[1]))
        for (reader_ip,) in self._database.execute("SELECT DISTINCT reader_ip FROM events").fetchall():
            reader = self._reader(reader_ip)
            reader.last_seq = self._number(_LAST_SEQ, reader_ip, reader.stream_epoch)
            reader.recorded_reads = self._number(_COUNT_EVENTS, reader_ip)
            rows = self._database.execute(_EVENTS_AFTER, (reader_ip, *reader.acked))
            reader.pending.extend(map(Event._make, rows))
            reader.acked_reads = reader.recorded_reads - len(reader.pending)

    def _number(self, statement: str, *parameters: str | int) -> int:
        (number,) = self._database.execute(statement, parameters).fetchone()
        return int(number)


def open_database(path: Path | None, schema: str) -> sqlite3.Connection:
    """Open a SQLite file that only this user can read, or one in memory, with `schema` in it.

    What was committed outlives a killed process; only a machine that loses its power may lose the end of it.
    """
    if path is not None:
        path.touch(mode=0o600)
    database = sqlite3.connect(path or ":memory:")
    database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; {schema}")
    return database
