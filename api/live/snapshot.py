"""The first page, made of its rows, and what has changed between two of them. Pure: no database, no clock.

The states of streams, receivers and processes are those of their open alerts (alerts/rules/); here they are only
handed on to what they are about.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from api.alerts import shown as alerts
from api.alerts.conditions import Level
from api.alerts.engine import worst
from api.alerts.rules.database import DATABASE
from api.alerts.rules.database import database as database_facts
from api.alerts.types import Alert, Mute, Quiet
from api.alerts.unkept import with_unkept
from api.live.messages import (
    Message,
    ProcessUpdated,
    ReceiverUpdated,
    Resync,
    StreamCreated,
    StreamUpdated,
    VerdictUpdated,
)
from api.live.store import Row, Rows
from api.live.types import Card, Database, Flow, RaceOn, Verdict, WatchedProcess
from api.storage.facts import StorageFacts

__all__ = ["Levels", "Page", "changes", "made", "moved"]

# A bar has room for few.
RACES_SHOWN = 5

# What of a card is told by stream_updated; all else are numbers, and told by metrics_updated.
_IDENTITY = (
    "forwarder_id",
    "reader_ip",
    "display_alias",
    "forwarder_display_name",
    "stream_epoch",
    "epoch_name",
    "online",
    "online_since",
    "reader_connected",
    "race_id",
    "race_name",
    "closed_at",
    "closed_by",
    "level",
    "quiet",
    "reasons",
)
# What stands beside a card where it has changed.
_TOLD_BESIDE = tuple(name for name in StreamUpdated.__struct_fields__ if name not in ("stream_id", "stream"))
_ROW = tuple(name for name in Card.__struct_fields__ if name not in ("level", "quiet", "reasons", "rate"))
_FLOW_ROW = tuple(name for name in Flow.__struct_fields__ if name not in ("level", "quiet"))
_NUMBERS = tuple(name for name in Card.__struct_fields__ if name not in _IDENTITY)


class Page(NamedTuple):
    """Everything on it, by what it is of; streams in order of creation, processes by role and age. Streams, flow and
    open alerts have bounds (store.py); the verdict counts all. positions: of the last event of each stream.
    """

    at: datetime
    verdict: Verdict
    cards: Mapping[UUID, Card]
    flow: Mapping[str, Sequence[Flow]]
    alerts: Sequence[Alert]
    mutes: Sequence[Mute]
    processes: Mapping[UUID, WatchedProcess]
    database: Database
    positions: Mapping[UUID, int]


class Levels:
    """The open alerts, by what they are of."""

    def __init__(self, listed: Iterable[Alert]) -> None:
        self._known: dict[tuple[str, str, UUID | None], list[Alert]] = defaultdict(list)
        for each in listed:
            if each.ended_at is None:
                self._known[each.subject_kind, each.subject_id, each.stream_id].append(each)

    def of(self, *keys: tuple[str, str, UUID | None]) -> Level:
        """Return the worst level of some subjects."""
        return worst(alert.level for key in keys for alert in self._known.get(key, ()))

    def quiet(self, *keys: tuple[str, str, UUID | None]) -> Quiet | None:
        """Return why none of what is open of some subjects counts; None where one does, or nothing is."""
        reasons = [alert.quiet for key in keys for alert in self._known.get(key, ())]
        return reasons[0] if reasons and None not in reasons else None

    def card(self, row: Row) -> Card:
        """Return the card of a stream: its state is its own, its forwarder's, and that of its point."""
        stream_id = row["stream_id"]
        keys = (
            ("forwarder", row["forwarder_id"], None),
            ("point", row["point"], None),
            ("stream", str(stream_id), stream_id),
        )
        reasons = [alert.reason for key in keys for alert in self._known.get(key, ())]
        fields = {name: row[name] for name in _ROW}
        return Card(**fields, level=self.of(*keys), quiet=self.quiet(*keys), reasons=reasons, rate=[])


def made(rows: Rows) -> Page:
    """Make the page of its rows."""
    kept = [alerts.alert(row) for row in rows.alerts]
    listed = with_unkept(kept, {database_facts: [rows.storage]}, rows.at)
    levels = Levels(listed)
    cards = {row["stream_id"]: levels.card(row) for row in rows.cards}
    flow: dict[str, list[Flow]] = defaultdict(list)
    for row in rows.flow:
        receiver_id = row["receiver_id"]
        keys = (("receiver", receiver_id, None), ("receiver", receiver_id, row["stream_id"]))
        fields = {name: row[name] for name in _FLOW_ROW}
        flow[receiver_id].append(Flow(**fields, level=levels.of(*keys), quiet=levels.quiet(*keys)))
    processes: dict[UUID, WatchedProcess] = {}
    for row in rows.processes:
        key = ("process", str(row["process_id"]), None)
        processes[row["process_id"]] = WatchedProcess(**row, level=levels.of(key), quiet=levels.quiet(key))
    database = _database(rows.storage, levels)
    positions = {row["stream_id"]: row["last_position"] for row in rows.cards}
    return Page(
        rows.at, _verdict(rows, listed), cards, flow, listed, rows.mutes, processes, database, positions
    )


def _database(facts: StorageFacts, levels: Levels) -> Database:
    key = (DATABASE.subject_kind, DATABASE.subject_id, None)
    fields = {
        name: getattr(facts, name) for name in Database.__struct_fields__ if name not in ("level", "quiet")
    }
    return Database(**fields, level=levels.of(key), quiet=levels.quiet(key))


def _verdict(rows: Rows, listed: Sequence[Alert]) -> Verdict:
    """The open ones come worst and oldest first, what is quiet behind them; how many of all there are stands in the
    first row of each kind.
    """
    first = next((each for each in listed if each.ended_at is None and each.quiet is None), None)
    counted = rows.alerts[0] if rows.alerts and rows.alerts[0]["ended_at"] is None else {}
    # What could not be kept is counted as it is, and not as it was.
    shown = Counter(each.quiet or each.level for each in listed if each.ended_at is None)
    shown.subtract(row["quiet"] or row["level"] for row in rows.alerts if row["ended_at"] is None)
    streams = rows.cards[0] if rows.cards else {}
    return Verdict(
        level="good" if first is None else first.level,
        watch=counted.get("watch_total", 0) + shown["watch"],
        act=counted.get("act_total", 0) + shown["act"],
        since=None if first is None else first.since,
        headline=None if first is None else f"{first.reason} · {first.title}",
        acknowledged=counted.get("acknowledged_total", 0) + shown["acknowledged"],
        muted=counted.get("muted_total", 0) + shown["muted"],
        clearing=counted.get("clearing_total", 0) + shown["clearing"],
        streams=streams.get("streams_total", 0),
        online=streams.get("online_total", 0),
        closed=streams.get("closed_total", 0),
        missing=streams.get("missing_total", 0),
        flows=rows.flow[0]["total"] if rows.flow else 0,
        races=_races(rows.cards),
    )


def _races(cards: Iterable[Row]) -> list[RaceOn]:
    """Return the races that are on, by name."""
    on = {
        row["race_id"]: RaceOn(race_id=row["race_id"], name=row["race_name"], gun_at=row["gun_at"])
        for row in cards
        if row["race_id"] and row["online"] and not row["closed_at"]
    }
    return sorted(on.values(), key=lambda race: (race.name, race.race_id))[:RACES_SHOWN]


def changes(told: Page, now: Page) -> Iterator[Message]:
    """Yield what tells the difference, but for the numbers of streams. What is gone no message can tell."""
    if told.cards.keys() - now.cards.keys() or told.processes.keys() - now.processes.keys():
        yield Resync()
    yield from _of_streams(told.cards, now.cards)
    for receiver_id in sorted(told.flow.keys() | now.flow.keys()):
        rows = now.flow.get(receiver_id, [])
        if rows != told.flow.get(receiver_id, []):
            yield ReceiverUpdated(receiver_id=receiver_id, flow=list(rows))
    yield from _of_processes(told.processes, now.processes)
    if (told.verdict, told.alerts, told.mutes) != (now.verdict, now.alerts, now.mutes):
        yield VerdictUpdated(verdict=now.verdict, troubles=list(now.alerts), mutes=list(now.mutes))


def _of_streams(told: Mapping[UUID, Card], now: Mapping[UUID, Card]) -> Iterator[Message]:
    for stream_id, card in now.items():
        before = told.get(stream_id)
        if before is None:
            fields = {
                name: getattr(card, name) for name in StreamCreated.__struct_fields__ if name != "stream"
            }
            yield StreamCreated(stream=card, **fields)
            continue
        changed = {name: getattr(card, name) for name in _TOLD_BESIDE if _differs(before, card, name)}
        # With the first read of an epoch once more: who has commanded it may have missed that it began.
        begun = not before.epoch_reads and card.epoch_reads > 0
        if begun:
            changed["stream_epoch"] = card.stream_epoch
        if begun or _of(before, _IDENTITY) != _of(card, _IDENTITY):
            yield StreamUpdated(stream_id=stream_id, stream=card, **changed)


def _differs(before: Card, card: Card, name: str) -> bool:
    return bool(getattr(before, name) != getattr(card, name))


def _of_processes(
    told: Mapping[UUID, WatchedProcess], now: Mapping[UUID, WatchedProcess]
) -> Iterator[Message]:
    for process_id, process in now.items():
        before = told.get(process_id)
        # A heartbeat alone is no news.
        if before is None or replace(before, last_seen_at=process.last_seen_at) != process:
            yield ProcessUpdated(process=process)


def moved(told: Mapping[UUID, Card], now: Mapping[UUID, Card]) -> list[UUID]:
    """Return the streams whose numbers are others than were told."""
    return [
        stream_id
        for stream_id, card in now.items()
        if (before := told.get(stream_id)) is None or _of(before, _NUMBERS) != _of(card, _NUMBERS)
    ]


def _of(card: Card, names: Iterable[str]) -> list[object]:
    return [getattr(card, name) for name in names]
