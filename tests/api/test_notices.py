"""What people are told of alerts: once each, by whichever process, however often a database or a webhook is away."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from prometheus_client import generate_latest

from api.alerts.evaluator import Evaluation
from api.notices import store
from api.notices.courier import Said
from api.notices.targets import Target
from api.notices.telling import Send, Telling
from api.notices.wording import Text
from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import Process
from shared.wake import Stop
from tests.api.answering import ALERTS, entries, opened, past, reads
from tests.api.conftest import Ask, Client
from tests.api.looking import looked
from tests.api.noticing import NOTICES, PHONE, TENT, People, later, silent_box
from tests.api.seeds import Database


@dataclass
class Stage:
    """One process that looks at alerts, and whom it tells."""

    ask: Ask
    process: Process
    evaluation: Evaluation
    database: Database
    people: People = field(default_factory=People)

    def telling(self, *targets: Target, send: Send | None = None) -> Telling:
        """Return the process's share, made to look by tests."""
        return Telling(self.process, targets or [PHONE], send=send or self.people.send)

    async def look(self) -> list[Any]:
        """Look at the states, and return what is open."""
        return opened(await looked(self.ask, self.evaluation))

    async def tell(self, telling: Telling) -> None:
        """Have what is red told."""
        await self.look()
        await telling.look()
        await later(self.database, 5)
        await telling.look()

    async def turn_red(self, telling: Telling) -> list[UUID]:
        """Have a box of eight readers fall silent, and that be told."""
        streams = await silent_box(self.database)
        await self.tell(telling)
        return streams

    async def end(self, streams: Sequence[UUID]) -> None:
        """Have reads come again, for long enough."""
        for each in streams:
            await reads(self.database, each)
        await self.look()
        await past(self.database, 200)
        await self.look()

    async def notices(self) -> list[Any]:
        """Return what operators see of it."""
        shown: list[Any] = (await self.ask("GET", NOTICES))["notices"]
        return shown


@pytest.fixture
def stage(ask: Ask, process: Process, evaluation: Evaluation, database: Database) -> Stage:
    return Stage(ask, process, evaluation, database)


async def test_a_forwarder_with_eight_silent_readers_is_one_notice_and_one_when_it_is_over(
    stage: Stage,
) -> None:
    telling = stage.telling()
    streams = await stage.turn_red(telling)
    (notice,) = stage.people.heard
    assert notice.kind == "red"
    assert notice.text.title.startswith("ACT: start · ")
    assert notice.text.title.endswith(" and 7 more")
    assert notice.text.body.count("no read for more than 45 s") == 8
    assert "check the reader, its antennas and its cable" in notice.text.body
    await stage.look()
    await later(stage.database, 600)
    await telling.look()
    await stage.end(streams[:7])
    await telling.look()
    assert stage.people.kinds == ["red"]
    await stage.end(streams)
    await telling.look()
    await telling.look()
    assert stage.people.kinds == ["red", "over"]
    over = stage.people.heard[1].text
    assert over.title.startswith("Over: start · ")
    assert over.body.count(" to ") == 8
    assert await stage.database.fetchval("SELECT count(*) FROM noticed_alerts") == 0


async def test_what_is_over_or_known_before_it_went_is_not_told(stage: Stage) -> None:
    telling = stage.telling()
    (stream_id,) = await silent_box(stage.database, readers=1)
    (alert,) = await stage.look()
    await telling.look()
    await stage.ask("POST", f"{ALERTS}/{alert['trouble_id']}/acknowledge")
    await later(stage.database, 5)
    await telling.look()
    assert stage.people.heard == []
    await stage.ask("DELETE", f"{ALERTS}/{alert['trouble_id']}/acknowledge", status=204)
    await telling.look()
    # Red for nothing but its time: it is over.
    await reads(stage.database, stream_id)
    await stage.look()
    await later(stage.database, 60)
    await telling.look()
    assert stage.people.heard == []


async def test_what_reads_now_and_then_and_is_shown_red_all_along_is_told(stage: Stage) -> None:
    telling = stage.telling()
    (stream_id,) = await silent_box(stage.database, readers=1)
    for _ in range(3):
        await stage.look()
        await telling.look()
        await reads(stage.database, stream_id)
        assert [each["level"] for each in await stage.look()] == ["act"]
        await telling.look()
        await later(stage.database, 3)
        await telling.look()
        await stage.database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '60 s'")
    assert stage.people.kinds == ["red"]


async def test_who_has_acknowledged_is_told_of_the_end_and_who_has_muted_is_not(stage: Stage) -> None:
    telling = stage.telling()
    streams = await stage.turn_red(telling)
    for alert in await stage.look():
        await stage.ask("POST", f"{ALERTS}/{alert['trouble_id']}/acknowledge")
    await later(stage.database, 60)
    await telling.look()
    await stage.end(streams)
    await telling.look()
    assert stage.people.kinds == ["red", "over"]
    await later(stage.database, 3600)
    await silent_box(stage.database, "finish", readers=1)
    (alert,) = await stage.look()
    await telling.look()
    await later(stage.database, 5)
    await telling.look()
    await stage.ask("POST", f"{ALERTS}/{alert['trouble_id']}/mute", json={"reason": "taken down"})
    await telling.look()
    await later(stage.database, 60)
    await stage.database.execute("UPDATE stream_metrics SET last_received_at = now()")
    await stage.look()
    await past(stage.database, 200)
    await stage.look()
    await telling.look()
    assert stage.people.kinds == ["red", "over", "red"]


async def test_who_has_it_is_not_sent_it_again_while_others_are_tried(stage: Stage) -> None:
    telling = stage.telling(PHONE, TENT)
    stage.people.problems = {"ntfy 2": "answers 500"}
    await stage.turn_red(telling)
    assert stage.process.concerns["notices"]() == "notices of alerts do not get through: ntfy 2: answers 500"
    await later(stage.database, 5)
    stage.people.problems = {}
    await telling.look()
    assert [each.to for each in stage.people.heard] == [("json 1", "ntfy 2"), ("ntfy 2",)]
    assert stage.people.heard[0].text == stage.people.heard[1].text
    assert stage.process.concerns["notices"]() is None
    (notice,) = await stage.notices()
    assert (notice["state"], notice["tries"], notice["reached"]) == ("sent", 2, ["json 1", "ntfy 2"])


async def test_who_did_not_take_the_last_comes_after_those_who_did(stage: Stage) -> None:
    telling = stage.telling(PHONE, TENT)
    stage.people.problems = {"ntfy 2": "does not answer within 25 s"}
    await stage.turn_red(telling)
    await silent_box(stage.database, "finish", readers=1)
    await stage.look()
    await telling.look()
    stage.people.heard.clear()
    await later(stage.database, 6)
    stage.people.problems = {}
    await telling.look()
    # The new one first, to who has taken the last; the others get both, each later.
    assert [each.to for each in stage.people.heard[:2]] == [("json 1",), ("ntfy 2",)]
    await later(stage.database, 6)
    await telling.look()
    assert [each.to for each in stage.people.heard[2:]] == [("ntfy 2",)]
    assert {each["state"] for each in await stage.notices()} == {"sent"}


async def test_after_an_hour_it_is_given_up_and_said(stage: Stage) -> None:
    telling = stage.telling()
    stage.people.problems = {"json 1": "cannot be reached, or does not answer in time"}
    streams = await stage.turn_red(telling)
    await later(stage.database, 3594)
    await telling.look()
    assert (await stage.notices())[0]["state"] == "due"
    await later(stage.database, 60)
    await telling.look()
    (notice,) = await stage.notices()
    assert (notice["state"], notice["tries"], notice["reached"]) == ("given_up", 3, [])
    assert notice["problem"] == "json 1: cannot be reached, or does not answer in time"
    (entry,) = await entries(stage.database, "notice_given_up")
    assert entry["notice"] == notice["notice_id"]
    assert "cannot be reached" in str(stage.process.concerns["notices"]())
    # Nobody was told that it is red: nobody is told that it is over, nor of the same a second time.
    stage.people.problems = {}
    await later(stage.database, 3600)
    await telling.look()
    await stage.end(streams)
    await telling.look()
    assert stage.people.kinds == ["red"] * 3


async def test_what_was_given_up_is_told_when_another_notice_has_got_through(stage: Stage) -> None:
    telling = stage.telling()
    stage.people.problems = {"json 1": "answers 500"}
    await stage.turn_red(telling)
    await later(stage.database, 3700)
    await telling.look()
    assert [each["state"] for each in await stage.notices()] == ["given_up"]
    stage.people.problems = {}
    await later(stage.database, 3600)
    await telling.look()
    assert stage.people.kinds == ["red"] * 2
    await silent_box(stage.database, "finish", readers=1)
    await stage.tell(telling)
    await telling.look()
    assert [each.text.title.partition(" · ")[0] for each in stage.people.heard[2:]] == [
        "ACT: finish",
        "ACT: start",
    ]


async def test_of_a_hundred_red_boxes_one_notice_tells(stage: Stage) -> None:
    telling = stage.telling()
    for each in range(30):
        await silent_box(stage.database, f"box-{each:02}", readers=1)
    await stage.look()
    await telling.look()
    await later(stage.database, 5)
    await telling.look()
    (notice,) = stage.people.heard
    assert notice.text.title.endswith(" and 29 more")
    assert "and 20 more" in notice.text.body
    assert len(notice.text.body) < 3000


async def test_two_who_look_at_once_send_one_at_a_time_and_each_notice_once(stage: Stage) -> None:
    under_way, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(targets: Sequence[Target], kind: str, text: Text, *, stop: Stop | None = None) -> Said:
        under_way.set()
        await goes_on.wait()
        return await stage.people.send(targets, kind, text, stop=stop)

    first, second = stage.telling(send=slow), stage.telling()
    await silent_box(stage.database)
    await stage.look()
    await first.look()
    await later(stage.database, 5)
    sending = asyncio.create_task(first.look())
    await under_way.wait()
    # Another cause is due meanwhile, and waits for its turn.
    await silent_box(stage.database, "finish", readers=1)
    await stage.look()
    await second.look()
    await later(stage.database, 5)
    await second.look()
    assert stage.people.heard == []
    goes_on.set()
    await sending
    await second.look()
    assert stage.people.kinds == ["red", "red"]
    assert await stage.database.fetchval("SELECT count(*) FROM alert_notices") == 2


async def test_what_a_process_that_died_had_in_hand_is_sent_again_as_it_was_though_it_is_over(
    stage: Stage,
) -> None:
    telling = stage.telling()
    streams = await stage.turn_red(telling)
    await stage.database.execute(
        "UPDATE alert_notices SET state = 'taken', reached = '{}', told_at = NULL, ended_at = NULL, taken_by = $1",
        uuid4(),
    )
    await stage.end(streams)
    await telling.look()
    first, again = stage.people.heard
    assert first == again
    assert f"notice {(await stage.ask('GET', NOTICES))['notices'][0]['notice_id']}" in again.text.body
    await later(stage.database, 60)
    await telling.look()
    assert stage.people.kinds == ["red", "red", "over"]


async def test_what_was_sent_while_the_database_went_away_is_noted_when_it_is_back_and_not_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = stage.telling()
    with monkeypatch.context() as away:

        async def note(*_: object) -> None:
            raise DatabaseUnavailable("away")

        away.setattr(store, "note", note)
        with pytest.raises(DatabaseUnavailable):
            await stage.turn_red(telling)
    assert await stage.database.fetchval("SELECT state FROM alert_notices") == "taken"
    await telling.look()
    assert stage.people.kinds == ["red"]
    assert await stage.database.fetchval("SELECT state FROM alert_notices") == "sent"


async def test_a_process_that_stops_before_it_knows_leaves_it_to_another(stage: Stage) -> None:
    async def stopped(targets: Sequence[Target], kind: str, text: Text, *, stop: Stop | None = None) -> Said:
        del targets, kind, text
        assert stop is not None
        return {}

    await stage.turn_red(stage.telling(send=stopped))
    assert await stage.database.fetchval("SELECT state FROM alert_notices") == "taken"
    await stage.database.execute("UPDATE alert_notices SET taken_by = gen_random_uuid()")
    await stage.telling().look()
    assert stage.people.kinds == ["red"]


async def test_while_no_alert_is_red_a_look_is_one_small_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = stage.telling()
    await stage.look()
    asked = []

    async def facts(_: object) -> None:
        asked.append("facts")
        raise DatabaseUnavailable("not to be asked")

    monkeypatch.setattr(store, "facts", facts)
    await telling.look()
    assert asked == []
    await silent_box(stage.database, readers=1)
    await stage.look()
    with pytest.raises(DatabaseUnavailable):
        await telling.look()


async def test_no_address_is_shown_logged_or_kept(
    stage: Stage, serve: Callable[..., Awaitable[Client]], capfd: pytest.CaptureFixture[str]
) -> None:
    telling = stage.telling(PHONE, TENT)
    stage.people.problems = {"json 1": "answers 500"}
    await stage.turn_red(telling)
    tables = await stage.database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    kept = [str(await stage.database.fetch(f"SELECT * FROM {row['tablename']}")) for row in tables]
    client = await serve(alert_urls=f"{PHONE.url} {TENT.url}")
    async with client.get(NOTICES) as answer:
        shown = await answer.text()
    assert orjson.loads(shown)["to"] == ["json 1", "ntfy 2"]
    seen = [*kept, shown, generate_latest().decode(), *capfd.readouterr()]
    assert sum("answers 500" in each for each in seen) >= 3
    assert not [each for each in seen if "a-secret" in each or "another-secret" in each]
