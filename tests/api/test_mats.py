"""Mats of a race over stored events: one that is cut is red, what is expected is kept, closed points are left alone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from api.mats.store.kept import take_turn
from api.mats.watching import Watching
from shared.protocol.ipico import compose
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Noted
from tests.api.crossed import GUN, arrange
from tests.api.looking import looked
from tests.api.mats_race import Field, Times, came, race
from tests.api.seeds import Database, add_events, add_forwarder_session, add_metrics, add_process

FIELD = Field(people=300, walkers=0)
POINTS = ("Start", "5 km", "Finish")
MATS = ("gun", "split", "finish")
WAITS = (
    "SELECT coalesce(sum(last_position), 0) > (SELECT coalesce(sum(position), 0) FROM passings_progress) "
    "FROM streams"
)


def tag(number: int) -> str:
    return f"05800000{number:04x}"


async def store(
    database: Database, stream_id: UUID, reads: Sequence[tuple[float, int]], *, now_s: float
) -> None:
    """Store reads as they came, live: at so many seconds since the gun, of which the last were this moment."""
    if not reads:
        return
    now: datetime = await database.fetchval("SELECT now()")
    first = 1 + await database.fetchval("SELECT last_position FROM streams WHERE stream_id = $1", stream_id)
    lines = [
        compose(reader_id="40", tag_id=tag(number), read_at=GUN + timedelta(seconds=at))
        for at, number in reads
    ]
    await add_events(database, stream_id, lines, first_seq=first)
    received = [now - timedelta(seconds=now_s - at) for at, _ in reads]
    await database.execute(
        "UPDATE events SET received_at = given.at FROM unnest($2::bigint[], $3::timestamptz[]) AS given(seq, at) "
        "WHERE stream_id = $1 AND events.seq = given.seq",
        stream_id,
        list(range(first, first + len(reads))),
        received,
    )
    await database.execute("DELETE FROM stream_metrics WHERE stream_id = $1", stream_id)
    await add_metrics(database, stream_id, dedup=first - 1 + len(reads), received_at=received[-1])
    while await database.fetchval(WAITS):
        await database.execute("SELECT fill_passings(20000)")


class Mats:
    """A race whose people have come by, and whoever looks at it."""

    def __init__(
        self, database: Database, race_id: str, streams: Mapping[str, UUID], watching: Watching
    ) -> None:
        self.database, self.race_id, self.streams, self.watching = database, race_id, streams, watching
        self.times = race(7, FIELD)

    async def until(self, now_s: float, **cut_s: float) -> None:
        """Let all come by until now, and by a mat that is cut until then."""
        for point, name in enumerate(MATS):
            reads = sorted(
                (at, number)
                for number, each in enumerate(self.times)
                if (at := each[point]) is not None and at <= min(now_s, cut_s.get(name, now_s))
            )
            await store(self.database, self.streams[name], reads, now_s=now_s)

    async def again(self, place: int) -> Any:
        """Look when it is its turn again."""
        await self.database.execute("UPDATE point_watches SET made_at = now() - interval '1 hour'")
        return await self.watch(place)

    async def watch(self, place: int) -> Any:
        await self.watching.look()
        return await self.database.fetchrow("SELECT * FROM point_watches WHERE place = $1", place)


@pytest.fixture
async def mats(ask: Ask, race: str, database: Database, process: Process) -> AsyncIterator[Mats]:
    streams = await arrange(
        ask, database, race, **{point: [mat] for point, mat in zip(POINTS, MATS, strict=True)}
    )
    gateway = await add_process(database, "gateway")
    for name in MATS:
        await add_forwarder_session(database, name, gateway)
    watching = Watching(process)
    yield Mats(database, race, streams, watching)
    watching.close()


def alerts(overview: Any) -> dict[str, Any]:
    """Return what is open, by signal and subject."""
    return {each["signal"]: each for each in overview["troubles"] if each["ended_at"] is None}


def middle(times: Sequence[Times], point: int) -> tuple[float, float]:
    """Return when a mat is cut in the middle of those who come, and when ten more should have."""
    arrivals = came(times, point)
    half = len(arrivals) // 2
    return arrivals[half], arrivals[half + 10]


async def test_a_mat_that_is_cut_is_red_within_a_minute_of_the_first_ten_due(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    cut, tenth = middle(mats.times, 2)
    await mats.until(tenth + 55, finish=cut)
    found = await mats.watch(3)
    assert (found["from_place"], found["closed"], found["through"] >= 100) == (2, False, True)
    overview = await looked(ask, evaluation)
    alert = alerts(overview)["silent_mat"]
    assert (alert["level"], alert["subject_kind"]) == ("act", "point")
    assert alert["subject_id"] == f"{mats.race_id}/3"
    assert alert["title"] == "Finish · 10 km"
    assert alert["reason"].startswith("silent for more than ")
    assert "10 or more runners due" in alert["reason"]
    # The mat's card is red with it, and only that one.
    levels = {each["forwarder_id"]: each["level"] for each in overview["streams"]}
    assert levels == {"gun": "good", "split": "good", "finish": "act"}


async def test_a_race_that_goes_well_is_calm_and_at_its_end_too(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    end = came(mats.times, 2)[-1]
    await mats.until(end + 900)
    found = await mats.watch(3)
    assert found["due"] is not None
    # Also the start, and the split, of which nobody has heard for an hour.
    assert alerts(await looked(ask, evaluation)) == {}
    # Nor in the night after it, while the boxes are still on.
    await mats.database.execute(
        "UPDATE stream_metrics SET last_received_at = last_received_at - interval '13 hours'"
    )
    await mats.watch(3)
    assert alerts(await looked(ask, evaluation)) == {}


async def test_a_closed_point_is_no_alert_and_so_is_one_whose_time_is_over(
    ask: Ask, mats: Mats, evaluation: Evaluation, noted: Noted
) -> None:
    cut, tenth = middle(mats.times, 2)
    await mats.until(tenth + 55, finish=cut)
    await mats.watch(3)
    assert "silent_mat" in alerts(await looked(ask, evaluation))
    path = f"{RACES}/{mats.race_id}/points/3"
    course = await ask("PATCH", path, json={"closed": True, "expected_closed": False})
    assert [each["is_closed"] for each in course["points"]] == [False, False, True]
    assert course["points"][2]["due_per_minute"] is None
    assert (await noted("point_closed", race="10 km"))["point"] == "Finish"
    assert (await mats.watch(3))["closed"]
    overview = await looked(ask, evaluation)
    assert alerts(overview)["silent_mat"]["quiet"] == "clearing"
    assert alerts(overview)["silent_mat"]["reason"].startswith("closed; shown until")
    assert overview["verdict"]["level"] == "good"
    # Who has seen it otherwise changes nothing; arranged anew under another name it stays closed.
    refused = await ask("PATCH", path, status=409, json={"closed": True, "expected_closed": False})
    assert refused["details"]["closed"]
    points = [
        {"name": name, "stream_ids": [str(mats.streams[mat])]}
        for name, mat in zip(("Start", "Half way", "In"), MATS, strict=True)
    ]
    course = await ask("PUT", f"{RACES}/{mats.race_id}/course", json={"points": points})
    assert [each["is_closed"] for each in course["points"]] == [False, False, True]
    await ask("PATCH", path, json={"closed": False, "closes_at": "2999-01-01T00:00:00Z"})
    assert not (await mats.watch(3))["closed"]
    await ask("PATCH", path, json={"closes_at": "2026-01-01T00:00:00Z"})
    assert (await mats.watch(3))["closed"]
    await ask("PATCH", f"{RACES}/{mats.race_id}/points/4", status=404, json={"closed": True})


async def test_what_is_expected_is_shown_beside_what_came(ask: Ask, mats: Mats) -> None:
    cut, tenth = middle(mats.times, 2)
    await mats.until(tenth + 300, finish=cut)
    await mats.watch(3)
    course = (await ask("GET", f"{RACES}/{mats.race_id}/course"))["points"]
    assert [each["due_per_minute"] is None for each in course] == [True, False, False]
    arrivals = came(mats.times, 2)
    truth = sum(tenth + 240 < at <= tenth + 300 for at in arrivals)
    assert truth / 2 < course[2]["due_per_minute"] < truth * 2
    flow = await ask("GET", f"{RACES}/{mats.race_id}/flow")
    start, split, finish = flow["points"]
    assert start["expected"] == []
    assert len(finish["expected"]) == len(finish["counts"])
    # As many as came, and those who are due since.
    assert finish["crossed"] < sum(finish["expected"]) < finish["crossed"] + 150
    assert sum(split["expected"]) == pytest.approx(split["crossed"], rel=0.2)


async def test_a_point_of_which_too_little_is_known_is_amber_while_many_are_on_the_way(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    cut = came(mats.times, 2)[20]
    await mats.until(cut + 700, finish=cut)
    found = await mats.watch(3)
    assert (found["through"] > 0, found["due"]) == (True, None)
    alert = alerts(await looked(ask, evaluation))["silent_mat"]
    assert (alert["level"], alert["subject_id"]) == ("watch", f"{mats.race_id}/3")
    assert "200 or more runners on the way" in alert["reason"]


async def test_a_point_whose_forwarder_is_gone_is_not_blamed_for_it(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    cut, tenth = middle(mats.times, 2)
    await mats.until(tenth + 55, finish=cut)
    await mats.watch(3)
    await mats.database.execute(
        "UPDATE forwarder_sessions SET ended_at = now() WHERE forwarder_id = 'finish'"
    )
    assert "silent_mat" not in alerts(await looked(ask, evaluation))


async def test_an_alert_of_a_mat_outlives_the_epoch_in_which_it_began(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    """A new epoch, of a race that begins or a box that is reset, has no read yet."""
    cut, tenth = middle(mats.times, 2)
    await mats.until(tenth + 55, finish=cut)
    await mats.watch(3)
    assert "silent_mat" in alerts(await looked(ask, evaluation))
    finish = mats.streams["finish"]
    await mats.database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", finish, UUID(mats.race_id))
    await mats.database.execute("UPDATE streams SET stream_epoch = 2 WHERE stream_id = $1", finish)
    assert alerts(await looked(ask, evaluation))["silent_mat"]["level"] == "act"
    # Nor does it turn green: who was due before is due still.
    assert (await mats.again(3))["due"] is not None
    alert = alerts(await looked(ask, evaluation))["silent_mat"]
    assert (alert["level"], alert["quiet"]) == ("act", None)


async def test_a_mat_that_reads_nothing_from_the_gun_on_is_red_when_many_are_behind_it(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    now = middle(mats.times, 2)[0]
    # A chip that was held over it in the morning is no runner.
    await store(mats.database, mats.streams["split"], [(-3600.0, 60_000)], now_s=now)
    await mats.until(now, split=-1.0)
    await mats.watch(2)
    found = await mats.again(3)
    assert (found["from_place"], found["through"] >= 100) == (1, True)
    # It may have come back just now, with what it has kept.
    assert alerts(await looked(ask, evaluation)) == {}
    await mats.database.execute("UPDATE troubles SET noticed_at = noticed_at - interval '1 minute'")
    overview = await looked(ask, evaluation)
    alert = alerts(overview)["silent_mat"]
    assert (alert["level"], alert["subject_id"]) == ("act", f"{mats.race_id}/2")
    assert "nobody was read here, 100 or more runners were at a later point" in alert["reason"]


async def test_a_mat_that_is_cut_does_not_hide_that_one_behind_it_is(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    cut, tenth = middle(mats.times, 2)
    await mats.until(tenth + 55, split=came(mats.times, 1)[40], finish=cut)
    await mats.watch(2)
    assert alerts(await looked(ask, evaluation))["silent_mat"]["subject_id"].endswith("/2")
    assert (await mats.again(3))["from_place"] == 1
    open_ones = [
        each for each in (await looked(ask, evaluation))["troubles"] if each["signal"] == "silent_mat"
    ]
    assert sorted(each["subject_id"][-2:] for each in open_ones if each["level"] == "act") == ["/2", "/3"]


async def test_without_a_look_for_minutes_the_simple_rule_holds_and_then_the_race_s_again(
    ask: Ask, mats: Mats, evaluation: Evaluation
) -> None:
    end = came(mats.times, 2)[-1]
    await mats.until(end + 900)
    await mats.watch(3)
    await mats.database.execute("UPDATE point_watches SET looked_at = now() - interval '4 minutes'")
    assert "last_read" in alerts(await looked(ask, evaluation))
    await mats.watch(3)
    assert alerts(await looked(ask, evaluation))["last_read"]["quiet"] == "clearing"


async def test_what_nobody_has_stored_anything_new_of_is_not_made_again_and_what_is_gone_goes(
    ask: Ask, mats: Mats
) -> None:
    await mats.until(came(mats.times, 2)[150])
    await mats.watch(3)
    again = await mats.again(3)
    assert again["made_at"] + timedelta(minutes=59) < again["looked_at"]
    await ask("PUT", f"{RACES}/{mats.race_id}/course", json={"points": []})
    assert await mats.watch(3) is None


async def test_a_look_that_the_database_refuses_ends_no_process(mats: Mats) -> None:
    await mats.until(came(mats.times, 2)[50])
    await mats.database.execute("ALTER TABLE point_watches ADD CONSTRAINT refused CHECK (false) NOT VALID")
    assert not await mats.watching.look()
    assert "points of races cannot be looked at" in (mats.watching.problem or "")
    await mats.database.execute("ALTER TABLE point_watches DROP CONSTRAINT refused")
    assert await mats.watching.look()
    assert mats.watching.problem is None


async def test_of_two_processes_one_looks(mats: Mats, process: Process) -> None:
    other = Watching(process)
    await mats.until(came(mats.times, 2)[50])
    async with mats.database.transaction():
        assert await take_turn(mats.database)
        assert not await other.look()
    assert await other.look()
    other.close()
