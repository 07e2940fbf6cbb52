"""What has changed between two pages, as one event: applied to the first it makes the second, whatever has happened."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from api.alerts.types import Alert, Mute
from api.live.diff import SLOW, changed, settled
from api.live.digest import grown_by
from api.live.messages import Changed
from api.live.snapshot import Page
from api.live.types import Card, Database, Flow, Verdict, WatchedProcess

NOW = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)


def uuid(number: int) -> UUID:
    return UUID(int=number)


def card(number: int, **more: Any) -> Card:
    plain: dict[str, Any] = {
        "stream_id": uuid(number),
        "forwarder_id": "start",
        "reader_ip": f"10.0.0.{number}:10000",
        "display_alias": None,
        "forwarder_display_name": None,
        "stream_epoch": 1,
        "epoch_name": None,
        "online": True,
        "online_since": NOW,
        "created_at": NOW,
        "level": "good",
        "reasons": [],
        "last_received_at": None,
        "epoch_reads": 0,
        "unique_chips": 0,
        "events_per_second": 0.0,
        "missing_count": 0,
        "retransmit_count": 0,
        "conflict_count": 0,
        "open_conflicts": 0,
        "unparsed_count": 0,
        "clock_offset_ms": None,
        "zone_unknown": False,
        "last_tag_id": None,
        "rate": [],
    }
    # What others add to a card is told as everything is.
    rest = {name: None for name in Card.__struct_fields__ if name not in plain}
    return Card(**(rest | plain | more))


def plain(kind: type[Any], **given: Any) -> Any:
    return kind(**(dict.fromkeys(kind.__struct_fields__) | given))


def flow(receiver_id: str, number: int, **more: Any) -> Flow:
    fields: dict[str, Any] = {"connected": True, "subscribed": True, "behind": 0, "level": "good"} | more
    return plain(Flow, receiver_id=receiver_id, stream_id=uuid(number), **fields)  # type: ignore[no-any-return]


def page(seed: int) -> Page:
    """Make a page of what the numbers of a seed say: rows come, go, change and change places."""
    random = Random(seed)
    some = sorted(random.sample(range(8), 5))
    cards = {
        uuid(n): card(n, epoch_reads=random.randrange(3), level=random.choice(["good", "act"])) for n in some
    }
    troubles = [
        plain(Alert, trouble_id=n, level="act", reason=random.choice("ab"))
        for n in random.sample(range(6), 3)
    ]
    mutes = [plain(Mute, alert_id=n) for n in random.sample(range(3), random.randrange(3))]
    follows = {
        receiver_id: [
            flow(receiver_id, n, behind=random.randrange(2), level=random.choice(["good", "act"]))
            for n in some
        ]
        for receiver_id in random.sample("abc", 2)
    }
    processes = {
        uuid(n): plain(WatchedProcess, process_id=uuid(n), ready=random.random() < 0.5) for n in some[:2]
    }
    verdict = plain(Verdict, act=random.randrange(2))
    database = plain(Database, level=random.choice(["good", "act"]), connections=random.randrange(3))
    positions = {each: random.randrange(5) for each in cards}
    return Page(
        NOW + timedelta(seconds=seed),
        verdict,
        cards,
        follows,
        troubles,
        mutes,
        processes,
        database,
        positions,
    )


def shown(of: Page) -> dict[str, Any]:
    """Return a page as a browser keeps it."""
    rows = [row for each in of.flow.values() for row in each]
    return {
        "verdict": to_builtins(of.verdict),
        "streams": {each.stream_id: to_builtins(each, builtin_types=(UUID,)) for each in of.cards.values()},
        "flow": {
            (each.receiver_id, each.stream_id): to_builtins(each, builtin_types=(UUID,)) for each in rows
        },
        "troubles": [to_builtins(each) for each in of.alerts],
        "mutes": to_builtins(of.mutes),
        "processes": {key: to_builtins(each, builtin_types=(UUID,)) for key, each in of.processes.items()},
        "database": to_builtins(of.database),
    }


def applied(before: dict[str, Any], said: Changed | None) -> dict[str, Any]:
    """Return what a browser makes of an event (static/state.js)."""
    after = dict(before)
    if said is None:
        return after
    told = {name: value for name in said.__struct_fields__ if (value := getattr(said, name)) is not UNSET}
    for name, keys in (
        ("streams", ["stream_id"]),
        ("flow", ["receiver_id", "stream_id"]),
        ("processes", ["process_id"]),
    ):
        rows = dict(before[name])
        for row in told.get(name, []):
            values = tuple(row[key] for key in keys)
            key = values if len(values) > 1 else values[0]
            rows[key] = rows.get(key, {}) | to_builtins(row, builtin_types=(UUID,))
        for gone in told.get(f"{name}_gone", []):
            rows.pop(gone if isinstance(gone, UUID) else (gone.receiver_id, gone.stream_id), None)
        after[name] = rows
    known = {each["trouble_id"]: each for each in before["troubles"]}
    for row in told.get("troubles", []):
        known[row["trouble_id"]] = known.get(row["trouble_id"], {}) | to_builtins(row)
    after["troubles"] = [
        known[each]
        for each in told.get("troubles_shown", [each["trouble_id"] for each in before["troubles"]])
    ]
    for name in ("verdict", "database", "mutes"):
        after[name] = to_builtins(told[name]) if name in told else before[name]
    return after


def difference(told: Page, now: Page) -> Changed | None:
    return changed(told, now, reads=[], skipped=0, rates=None)


@pytest.mark.parametrize("seed", range(50))
def test_what_has_changed_makes_the_page_of_before_the_page_of_now(seed: int) -> None:
    told, now = page(seed), page(seed + 1)
    assert applied(shown(told), difference(told, now)) == shown(now)


@pytest.mark.parametrize("seed", range(50))
def test_who_has_a_younger_page_than_was_told_may_apply_it_all_the_same(seed: int) -> None:
    """An overview is of a page that was told to the last; what is told next is applied to it."""
    told, now = page(seed), page(seed + 1)
    assert applied(shown(now), difference(told, now)) == shown(now)


def test_nothing_is_told_of_what_has_not_changed() -> None:
    assert difference(page(1), page(1)._replace(at=NOW)) is None


def test_of_a_row_its_key_is_told_and_what_is_other() -> None:
    told = page(1)
    first = next(iter(told.cards.values()))
    now = told._replace(cards={**told.cards, first.stream_id: replace(first, epoch_reads=99)})
    said = difference(told, now)
    assert said is not None
    assert said.streams == [{"stream_id": first.stream_id, "epoch_reads": 99}]
    assert said.verdict is said.flow is said.troubles is said.processes is UNSET


def test_the_last_alert_that_goes_is_told() -> None:
    said = difference(page(1), page(1)._replace(alerts=[]))
    assert said is not None
    assert said.troubles_shown == []


def test_numbers_that_never_rest_wait_until_they_are_due_or_something_else_has_changed() -> None:
    told = page(1)._replace(flow={"a": [flow("a", 1), flow("a", 2)]})
    behind = told._replace(flow={"a": [flow("a", 1, behind=5), flow("a", 2, behind=5, level="act")]})
    rested = settled(told, behind, slow=False)
    assert rested.flow == {"a": [flow("a", 1), flow("a", 2, behind=5, level="act")]}
    assert settled(told, behind, slow=True) == behind
    for kind, names in SLOW.items():
        assert names <= set(kind.__struct_fields__)
        assert "level" not in names


def test_what_a_stream_has_grown_by_is_what_was_stored_since_it_was_told() -> None:
    # There are more streams than the page had room for.
    told = page(1)._replace(
        at=NOW, cards={uuid(1): card(1)}, positions={uuid(1): 5}, verdict=plain(Verdict, streams=4)
    )
    young, old = card(2, created_at=NOW + timedelta(seconds=1)), card(3, created_at=NOW - timedelta(days=1))
    now = told._replace(
        at=NOW + timedelta(seconds=2),
        cards={**told.cards, uuid(2): young, uuid(3): old},
        positions={uuid(1): 7, uuid(2): 2, uuid(3): 9},
    )
    assert grown_by(told, now) == {uuid(1): (5, 7), uuid(2): (0, 2)}
    # Its transaction began before the page was read, and was committed afterwards.
    late = now._replace(cards={**now.cards, uuid(2): card(2, created_at=NOW - timedelta(seconds=1))})
    assert grown_by(told, late) == {uuid(1): (5, 7), uuid(2): (0, 2)}
    # Where all were told, what has come is new, however long its transaction has lasted.
    assert grown_by(told._replace(verdict=plain(Verdict, streams=1)), now)[uuid(3)] == (0, 9)
    # An administrator may have deleted what it held.
    assert grown_by(told, told._replace(positions={uuid(1): 0})) == {}
