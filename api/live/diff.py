"""The difference between two first pages as one event: rows by their keys, with the fields that are others now. Pure.

Whoever applies it to the page as it was has the page as it is, whatever was gone, has come or has been put in another
order: there is nothing that it cannot tell. Numbers that never rest (SLOW) are told with the next row of their kind
that has something else to say, or when the slow ones are due: `settled` says which page that makes.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import fields, replace

from api.alerts.types import Alert
from api.events.types import Read
from api.live.messages import Changed, FlowKey, Partial, RateBins
from api.live.snapshot import Page
from api.live.types import Card, Database, Flow, WatchedProcess

__all__ = ["changed", "settled"]

Row = TypeVar("Row", Card, Flow, Alert, WatchedProcess, Database)
Key = TypeVar("Key", bound=Hashable)

# What changes all the time and says little each time it does.
SLOW: Mapping[type[msgspec.Struct], frozenset[str]] = {
    Card: frozenset({"last_tag_id"}),
    Flow: frozenset({"behind", "behind_seconds"}),
    WatchedProcess: frozenset({"last_seen_at", "connections", "events_per_second"}),
    Database: frozenset(each.name for each in fields(Database)) - {"level", "quiet"},
}


def settled(told: Page, now: Page, *, slow: bool) -> Page:
    """Return the page to tell: as it is now, with rows as they were told where nothing but slow numbers has changed.
    slow: those are due, too.
    """
    if slow:
        return now
    flow = _resting(_flow(told), _flow(now))
    return now._replace(
        cards=_resting(told.cards, now.cards),
        flow={receiver_id: [flow[_key(row)] for row in rows] for receiver_id, rows in now.flow.items()},
        processes=_resting(told.processes, now.processes),
        database=_rest(told.database, now.database),
    )


def changed(
    told: Page, now: Page, *, reads: list[Read], skipped: int, rates: RateBins | None
) -> Changed | None:
    """Return what is other now; None when nothing is. reads, skipped, rates: what came besides."""
    tell: dict[str, Any] = {
        "verdict": None if told.verdict == now.verdict else now.verdict,
        "streams": _rows(told.cards, now.cards, _named("stream_id")),
        "streams_gone": _gone(told.cards, now.cards),
        "flow": _rows(_flow(told), _flow(now), _named("receiver_id", "stream_id")),
        "flow_gone": [
            FlowKey(receiver_id=receiver_id, stream_id=stream_id)
            for receiver_id, stream_id in _gone(_flow(told), _flow(now))
        ],
        "troubles": _rows(_alerts(told), _alerts(now), _named("trouble_id")),
        "troubles_shown": _order(told, now),
        "mutes": None if told.mutes == now.mutes else list(now.mutes),
        "processes": _rows(told.processes, now.processes, _named("process_id")),
        "processes_gone": _gone(told.processes, now.processes),
        "database": None if told.database == now.database else now.database,
        "reads": reads,
        "reads_skipped": skipped or None,
        "rates": rates,
    }
    said = {name: value for name, value in tell.items() if value not in (None, [])}
    # An empty list of these is news, too: the last one has gone.
    for name in ("troubles_shown", "mutes"):
        if tell[name] is not None:
            said[name] = tell[name]
    return Changed(at=now.at, **said) if said else None


def _order(told: Page, now: Page) -> list[int] | None:
    before, after = list(_alerts(told)), list(_alerts(now))
    return None if before == after else after


def _rows(told: Mapping[Key, Row], now: Mapping[Key, Row], named: Callable[[Row], Partial]) -> list[Partial]:
    """Return the rows that differ: the key, and the fields that do; a new one whole."""
    rows = []
    for key, row in now.items():
        before = told.get(key)
        if before is None:
            rows.append({name: getattr(row, name) for name in row.__struct_fields__})
        elif before is not row and before != row:
            rows.append(named(row) | _differing(before, row))
    return rows


def _differing(before: msgspec.Struct, row: msgspec.Struct) -> Partial:
    return {
        name: value
        for name in row.__struct_fields__
        if (value := getattr(row, name)) != getattr(before, name)
    }


def _gone(told: Mapping[Key, object], now: Mapping[Key, object]) -> list[Key]:
    return [key for key in told if key not in now]


def _named(*names: str) -> Callable[[Any], Partial]:
    return lambda row: {name: getattr(row, name) for name in names}


def _resting(told: Mapping[Key, Row], now: Mapping[Key, Row]) -> dict[Key, Row]:
    return {key: row if (before := told.get(key)) is None else _rest(before, row) for key, row in now.items()}


def _rest(before: Row, row: Row) -> Row:
    """Return the row as it was told when nothing but slow numbers has changed."""
    if before == row:
        return before
    slow = {name: getattr(row, name) for name in SLOW.get(type(row), ())}
    return before if slow and replace(before, **slow) == row else row


def _key(row: Flow) -> tuple[str, UUID]:
    return row.receiver_id, row.stream_id


def _flow(page: Page) -> dict[tuple[str, UUID], Flow]:
    return {_key(row): row for rows in page.flow.values() for row in rows}


def _alerts(page: Page) -> dict[int, Alert]:
    return {each.trouble_id: each for each in page.alerts}
