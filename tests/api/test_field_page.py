"""The field's own web page works with this server as it is: each page's requests, in its order, and what it reads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from api.live.view import Live
from shared.protocol.ipico import compose
from tests.api.conftest import Client
from tests.api.field_page import (
    Assignments,
    Epoch,
    EpochName,
    EpochRace,
    Logs,
    Mappings,
    Metrics,
    MetricsTold,
    Page,
    Race,
    Races,
    RaceTold,
    Reads,
    Roster,
    Stream,
    Streams,
    StreamTold,
)
from tests.api.gateways import carrying_out
from tests.api.seeds import (
    START,
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_stream,
)
from tests.api.sse import Events, follow
from tests.waiting import wait_until

PEOPLE = b"7,Byron,Ada,Analysts,,F\n8,Turing,Alan\n"
CHIPS = b"bib,chip\n7,058000000001\n9,058000000003\n"
ADA, NOBODY, UNKNOWN = "058000000001", "058000000003", "058000000009"


@pytest.fixture
def page(client: Client) -> Page:
    return Page(client)


@asynccontextmanager
async def told(client: Client) -> AsyncIterator[Events]:
    async with follow(client.session, str(client.make_url("")).rstrip("/")) as events:
        yield events


def line(tag: str, seconds: float = 0) -> str:
    return compose(
        reader_id="40", tag_id=tag, read_at=START.replace(tzinfo=None) + timedelta(seconds=seconds)
    )


async def read(database: Database, *tags: str, forwarder: str = "start", reader: int = 1) -> UUID:
    """Add a stream that has read chips, one a second, in its second epoch; the first has one read."""
    stream = await add_stream(database, forwarder, f"10.0.0.{reader}:10000", epoch=2)
    await add_events(database, stream, [line(ADA)], epoch=1)
    await add_metrics(database, stream, epoch=1, dedup=1, last_tag_id=ADA)
    await add_events(database, stream, [line(tag, n) for n, tag in enumerate(tags)], epoch=2)
    await add_metrics(database, stream, epoch=2, dedup=len(tags), chips=len(set(tags)), last_tag_id=tags[-1])
    return stream


async def with_race(page: Page) -> str:
    """Make a race as the page does, with people and chips, and return its id."""
    race = await page.send("POST", "/races", Race, {"name": "10 km"})
    await page.upload(f"/races/{race.race_id}/participants/upload", "people.ppl", PEOPLE)
    await page.upload(f"/races/{race.race_id}/chips/upload", "chips.bibchip", CHIPS)
    return race.race_id


async def test_every_page_begins_with_streams_races_assignments_and_the_log(
    page: Page, database: Database
) -> None:
    race = await with_race(page)
    stream = await read(database, ADA)
    assert (await page.get("/forwarder-races", Assignments)).assignments == []
    await page.send("PUT", "/forwarders/start/race", RaceTold, {"race_id": race})
    (listed,) = (await page.get("/streams", Streams)).streams
    assert (listed.stream_id, listed.stream_epoch, listed.online) == (str(stream), 2, False)
    (known,) = (await page.get("/races", Races)).races
    assert (known.race_id, known.participant_count, known.chip_count) == (race, 2, 2)
    assert (await page.get("/forwarder-races", Assignments)).assignments == [RaceTold("start", race)]
    await page.get("/logs", Logs)


async def test_the_page_of_streams_shows_numbers_and_whose_the_last_chip_was(
    page: Page, database: Database
) -> None:
    race, stream = await with_race(page), await read(database, UNKNOWN, ADA, ADA)
    metrics = await page.get(f"/streams/{stream}/metrics", Metrics)
    assert (metrics.epoch_raw_count, metrics.unique_chips, metrics.raw_count) == (3, 2, 4)
    # As it names the last read: by a map of chips that it makes of the people.
    await page.send("PUT", "/forwarders/start/race", RaceTold, {"race_id": race})
    people = (await page.get(f"/races/{race}/participants", Roster)).participants
    named = {chip: (each.first_name, each.bib) for each in people for chip in each.chip_ids}
    assert metrics.last_tag_id is not None
    assert named[metrics.last_tag_id] == ("Ada", 7)
    # No race is chosen as null.
    assert (await page.send("PUT", "/forwarders/start/race", RaceTold, {"race_id": None})).race_id is None


async def test_events_keep_the_pages_as_the_server_has_it(
    page: Page, client: Client, live: Live, database: Database
) -> None:
    async with told(client) as events:
        stream = await read(database, ADA)
        live.wake()
        created = msgspec.convert(await events.named("stream_created"), Stream)
        assert created == (await page.get("/streams", Streams)).streams[0]
        await add_events(database, stream, [line(ADA, 9)], epoch=2, first_seq=2)
        await database.execute(
            "UPDATE stream_metrics SET raw_count = 2, dedup_count = 2 WHERE stream_epoch = 2"
        )
        live.wake()
        event = msgspec.convert(
            await events.until(
                lambda each: each["type"] == "metrics_updated" and each["epoch_raw_count"] == 2
            ),
            MetricsTold,
        )
        assert event.stream_id == str(stream)
        asked = await page.get(f"/streams/{stream}/metrics", Metrics)
        # How long ago is another number each time.
        aged = {"lag_ms": None, "epoch_lag_ms": None}
        named = msgspec.structs.asdict(event) | aged
        del named["stream_id"]
        assert named == msgspec.structs.asdict(asked) | aged
        await page.send("PATCH", f"/streams/{stream}", Stream, {"display_alias": "Finish"})
        renamed = await events.until(
            lambda each: "display_alias" in each and each["type"] == "stream_updated"
        )
        assert msgspec.convert(renamed, StreamTold).display_alias == "Finish"
        race = await with_race(page)
        await events.named("resync")
        await page.send("PUT", "/forwarders/start/race", RaceTold, {"race_id": race})
        assigned = await events.until(lambda each: each.get("race_id") == race)
        assert msgspec.convert(assigned, RaceTold) == RaceTold("start", race)


async def test_a_stream_s_page_has_its_epochs_with_names_and_races(page: Page, database: Database) -> None:
    race, other = await with_race(page), await page.send("POST", "/races", Race, {"name": "5 km"})
    stream = await read(database, ADA, UNKNOWN)
    first, second = await page.get(f"/streams/{stream}/epochs", list[Epoch])
    assert (first.epoch, first.event_count, first.is_current) == (1, 1, False)
    assert (second.epoch, second.event_count, second.is_current) == (2, 2, True)
    of_epoch = f"/streams/{stream}/epochs/2"
    # Both are saved at once.
    await asyncio.gather(
        page.send("PUT", f"{of_epoch}/race", EpochRace, {"race_id": race}),
        page.send("PUT", f"{of_epoch}/name", EpochName, {"name": "Heat 1"}),
    )
    (mapped,) = (await page.get(f"/races/{race}/stream-epochs", Mappings)).mappings
    assert (mapped.stream_id, mapped.stream_epoch, mapped.race_id) == (str(stream), 2, race)
    assert (await page.get(f"/races/{other.race_id}/stream-epochs", Mappings)).mappings == []
    assert (await page.get(f"/streams/{stream}/epochs", list[Epoch]))[1].name == "Heat 1"
    assert (await page.send("PUT", f"{of_epoch}/race", EpochRace, {"race_id": None})).race_id is None
    assert (await page.send("PUT", f"{of_epoch}/name", EpochName, {"name": None})).name is None
    # An alias that is emptied is none.
    emptied = await page.send("PATCH", f"/streams/{stream}", Stream, {"display_alias": ""})
    assert emptied.display_alias is None


async def test_the_button_for_the_next_epoch_is_let_go_by_the_event_behind_its_answer(
    page: Page, client: Client, live: Live, database: Database, database_url: str
) -> None:
    race, stream = await with_race(page), await read(database, ADA)
    session = await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    await page.send("PUT", f"/streams/{stream}/epochs/2/race", EpochRace, {"race_id": race})
    reserve = "SELECT reserve_epoch_of_race($1, 2, $2, $3)"
    async with carrying_out(database_url, lambda *_: None) as came, told(client) as events:
        advance = f"/races/{race}/streams/{stream}/epochs/activate-next"
        asked = asyncio.create_task(page.send("POST", advance, type(None)))
        await wait_until(lambda: came, what="the command")
        assert await database.fetchval(reserve, stream, session, UUID(race)) == 3
        await database.execute("""UPDATE commands SET state = 'done', answer = '{"new_stream_epoch": 3}'""")
        await database.execute("SELECT pg_notify('rt_answers', command_id::text) FROM commands")
        await asked
        mine = msgspec.convert(
            await events.until(
                lambda each: each["type"] == "stream_updated" and each.get("stream_epoch") == 3
            ),
            StreamTold,
        )
        assert mine.stream_id == str(stream)
    epochs = await page.get(f"/streams/{stream}/epochs", list[Epoch])
    assert [(each.epoch, each.event_count, each.is_current) for each in epochs][-1] == (3, 0, True)


ADDRESSES: dict[str, Callable[[UUID], str]] = {
    "stream": lambda stream: f"/streams/{stream}/reads",
    "forwarder": lambda _: "/forwarders/start/reads",
}


@pytest.mark.parametrize("of", ADDRESSES)
async def test_reads_of_a_stream_and_of_a_forwarder_are_turned_over_and_seen_once(
    page: Page, database: Database, of: str
) -> None:
    race = await with_race(page)
    stream = await read(database, ADA, ADA, NOBODY, UNKNOWN)
    await page.send("PUT", "/forwarders/start/race", RaceTold, {"race_id": race})
    address = ADDRESSES[of](stream)

    async def shown(query: str) -> Reads:
        found = await page.get(f"{address}?{query}", Reads)
        page.rows(found.reads, "stream_id", "seq")
        return found

    everything = await shown("dedup=none&window_secs=5&limit=100&offset=0&order=desc")
    assert (everything.total, everything.limit, everything.offset) == (4, 100, 0)
    who = [(each.seq, each.tag_id, each.bib, each.first_name) for each in everything.reads]
    assert who == [(4, UNKNOWN, None, None), (3, NOBODY, 9, None), (2, ADA, 7, "Ada"), (1, ADA, 7, "Ada")]
    for dedup, kept in (("first", 1), ("last", 2)):
        found = await shown(f"dedup={dedup}&window_secs=10&limit=100&offset=0")
        assert (found.total, [each.seq for each in found.reads]) == (3, [4, 3, kept])
    turned = await shown("dedup=none&window_secs=5&limit=3&offset=3&order=asc")
    assert (turned.total, turned.limit, turned.offset, [each.seq for each in turned.reads]) == (4, 3, 3, [4])


async def test_a_forwarder_s_reads_are_those_of_all_its_streams_and_one_that_is_not_known_has_none(
    page: Page, database: Database
) -> None:
    streams = [await read(database, UNKNOWN, reader=n) for n in (1, 2)]
    query = "reads?dedup=none&window_secs=5&limit=100&offset=0"
    found = await page.get(f"/forwarders/start/{query}", Reads)
    assert {each.stream_id for each in page.rows(found.reads, "stream_id", "seq")} == set(map(str, streams))
    assert (await page.get(f"/forwarders/nobody/{query}", Reads)).total == 0


async def test_links_to_files_are_followed(page: Page, database: Database) -> None:
    stream = await read(database, ADA, UNKNOWN)
    counts: dict[str, int] = {}
    for place in ("", "/epochs/1", "/epochs/2"):
        text = await page.download(f"/streams/{stream}{place}/export.txt")
        table = await page.download(f"/streams/{stream}{place}/export.csv")
        counts[place] = text.count("\n")
        assert table.count("\n") == counts[place] + 1
    assert counts == {"": 3, "/epochs/1": 1, "/epochs/2": 2}


async def test_races_are_made_listed_shown_and_deleted(page: Page) -> None:
    race = await with_race(page)
    roster = await page.get(f"/races/{race}/participants", Roster)
    assert [each.chip_ids for each in page.rows(roster.participants, "bib")] == [[ADA], []]
    (unmatched,) = page.rows(roster.chips_without_participant, "chip_id")
    assert (unmatched.chip_id, unmatched.bib) == (NOBODY, 9)
    files: list[tuple[str, bytes, int]] = [("participants", PEOPLE, 2), ("chips", CHIPS, 2)]
    for kind, content, count in files:
        assert (await page.upload(f"/races/{race}/{kind}/upload", "a", content)).imported == count
    newer = await page.send("POST", "/races", Race, {"name": "5 km"})
    listed = page.rows((await page.get("/races", Races)).races, "race_id")
    assert [each.name for each in listed] == ["5 km", "10 km"]
    await page.send("DELETE", f"/races/{newer.race_id}", type(None))
    assert [each.race_id for each in (await page.get("/races", Races)).races] == [race]
    await page.send("DELETE", "/admin/races", type(None))
    assert (await page.get("/races", Races)).races == []
