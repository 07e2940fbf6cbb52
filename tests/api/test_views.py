"""Views of reads: what a chip says again within a window is one read, by the reader's own time."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest

from api.events import store
from shared.protocol.ipico import compose
from tests.api.conftest import RACES, Ask
from tests.api.seeds import SECOND, START, Database, add_events, add_metrics, add_stream

GUN = datetime(2026, 5, 3, 10, 0)  # noqa: DTZ001 - a reader's own clock
ADA, BOB = "058000000001", "058000000002"


class Said(NamedTuple):
    """A read: of a chip, at so many seconds by the reader, that arrived after so many."""

    tag: str | None
    at: float
    arrived: float


def line(said: Said) -> str:
    if said.tag is None:
        return "no read"
    return compose(reader_id="40", tag_id=said.tag, read_at=GUN + timedelta(seconds=said.at))


async def say(database: Database, stream_id: UUID, reads: Sequence[Said], *, epoch: int = 1) -> None:
    """Store reads, numbered on in their order."""
    first = 1 + await database.fetchval(
        "SELECT count(*) FROM events WHERE stream_id = $1 AND stream_epoch = $2", stream_id, epoch
    )
    for n, each in enumerate(reads):
        await add_events(
            database,
            stream_id,
            [line(each)],
            epoch=epoch,
            first_seq=first + n,
            received_at=START + timedelta(seconds=each.arrived),
        )
    await database.execute(
        "DELETE FROM stream_metrics WHERE stream_id = $1 AND stream_epoch = $2", stream_id, epoch
    )
    await add_metrics(database, stream_id, epoch=epoch, dedup=first + len(reads) - 1)


async def view(ask: Ask, stream_id: UUID, **query: Any) -> Any:
    return await ask("GET", f"/api/v1/streams/{stream_id}/reads?{urlencode({'order': 'asc', **query})}")


def seqs(page: Any) -> list[int]:
    return [each["seq"] for each in page["reads"]]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(("dedup", "shown"), [("none", [1, 2, 3]), ("first", [1, 3]), ("last", [2, 3])])
async def test_a_window_is_anchored_at_its_first_read_whenever_the_reads_arrive(
    ask: Ask,
    database: Database,
    dedup: str,
    shown: list[int],
    at_once: bool,
) -> None:
    stream_id = await add_stream(database)
    await say(database, stream_id, [Said(ADA, at, 100 if at_once else at) for at in (0, 3, 8)])
    page = await view(ask, stream_id, dedup=dedup, window_secs=5)
    assert (seqs(page), page["total"], page["limit"], page["offset"]) == (shown, len(shown), 100, 0)
    assert page["next_cursor"] is None


async def test_how_many_reads_there_are_is_not_counted_where_the_writer_has(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database, epoch=2)
    await say(database, stream_id, [Said(ADA, 0, 5), Said(BOB, 1, 1), Said(ADA, 2, 3)])
    await say(database, stream_id, [Said(BOB, 9, 9)], epoch=2)
    await database.execute(
        "UPDATE stream_metrics SET dedup_count = 70 + stream_epoch, raw_count = 70 + stream_epoch"
    )
    for query, shown, total in (
        ({"epoch": 1, "order": "asc"}, [2, 3, 1], 71),
        ({"epoch": 1, "order": "desc"}, [1, 3, 2], 71),
        ({"epoch": 1, "order": "asc", "offset": 1, "limit": 1}, [3], 71),
        ({"order": "asc"}, [1], 72),
    ):
        page = await view(ask, stream_id, dedup="none", **query)
        assert (seqs(page), page["total"]) == (shown, total), query
    # Of one chip they are.
    assert (await view(ask, stream_id, dedup="none", epoch=1, tag_id=ADA))["total"] == 2


async def test_a_window_that_rolls_on_is_cut_at_its_anchor_s_end(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await say(database, stream_id, [Said(ADA, at, at) for at in (0, 2, 4, 6, 8, 10)])
    assert seqs(await view(ask, stream_id, dedup="first", window_secs=5)) == [1, 4]
    assert seqs(await view(ask, stream_id, dedup="last", window_secs=5)) == [3, 6]
    # One that comes exactly a window behind the anchor begins the next.
    assert seqs(await view(ask, stream_id, dedup="first", window_secs=4)) == [1, 3, 5]
    assert seqs(await view(ask, stream_id, dedup="first", window_secs=0)) == [1, 2, 3, 4, 5, 6]
    assert seqs(await view(ask, stream_id, dedup="first", window_secs=86_400)) == [1]
    # Five seconds, unless asked otherwise.
    assert seqs(await view(ask, stream_id, dedup="first")) == [1, 4]


async def test_order_is_by_reader_time_and_of_a_tie_the_last_line_is_the_last(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database)
    # What came late belongs where its reader says; a last-seen line carries the first-seen time.
    await say(database, stream_id, [Said(ADA, 8, 1), Said(ADA, 0, 2), Said(ADA, 0, 3)])
    assert seqs(await view(ask, stream_id, dedup="first")) == [1, 2]
    assert seqs(await view(ask, stream_id, dedup="last")) == [1, 3]


async def test_what_has_no_chip_is_always_shown_and_chips_have_windows_of_their_own(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database)
    reads = [Said(ADA, 0, 0), Said(None, 0, 1), Said(BOB, 1, 2), Said(None, 0, 3), Said(ADA, 1, 4)]
    await say(database, stream_id, reads)
    assert seqs(await view(ask, stream_id, dedup="first")) == [1, 2, 3, 4]
    assert seqs(await view(ask, stream_id, dedup="last")) == [2, 3, 4, 5]


async def test_a_chip_without_a_time_is_shown_and_ends_no_window(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await say(database, stream_id, [Said(ADA, 0, 0), Said(ADA, 1, 1), Said(ADA, 2, 2)])
    await database.execute("UPDATE events SET read_at = NULL WHERE seq = 3")
    assert seqs(await view(ask, stream_id, dedup="first")) == [1, 3]
    assert seqs(await view(ask, stream_id, dedup="last")) == [2, 3]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("dedup", ["none", "first", "last"])
async def test_pages_by_offset_are_the_view_in_order_of_arrival(
    ask: Ask, database: Database, dedup: str, order: str
) -> None:
    stream_id = await add_stream(database)
    await say(database, stream_id, [Said(f"0580000000{n:02}", n, n) for n in range(7)])
    whole = await view(ask, stream_id, dedup=dedup, order=order)
    assert seqs(whole) == ([1, 2, 3, 4, 5, 6, 7] if order == "asc" else [7, 6, 5, 4, 3, 2, 1])
    paged = []
    for offset in range(0, 10, 3):
        page = await view(ask, stream_id, dedup=dedup, order=order, offset=offset, limit=3)
        assert (page["total"], page["limit"], page["offset"]) == (7, 3, offset)
        paged += page["reads"]
    assert paged == whole["reads"]


async def test_a_view_is_of_the_current_epoch_unless_another_is_named(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, epoch=3)
    await say(database, stream_id, [Said(ADA, 0, 0), Said(ADA, 9, 9)], epoch=2)
    await say(database, stream_id, [Said(ADA, 20, 20)], epoch=3)
    for query in ({"dedup": "none"}, {"offset": 0}, {"dedup": "first"}):
        for order in ("asc", "desc"):
            page = await view(ask, stream_id, order=order, **query)
            assert [(each["stream_epoch"], each["seq"]) for each in page["reads"]] == [(3, 1)]
            assert page["total"] == 1
    assert seqs(await view(ask, stream_id, dedup="first", epoch=2)) == [1, 2]
    assert (await view(ask, stream_id, dedup="first", epoch=7))["reads"] == []


async def test_filters_are_of_what_is_looked_at(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await say(database, stream_id, [Said(ADA, 0, 0), Said(BOB, 1, 1), Said(ADA, 2, 2), Said(ADA, 9, 9)])
    for dedup, shown in (("none", [1, 3, 4]), ("first", [1, 4]), ("last", [3, 4])):
        page = await view(ask, stream_id, dedup=dedup, tag_id=ADA.upper())
        assert (seqs(page), page["total"]) == (shown, len(shown))
    page = await view(ask, stream_id, dedup="none", order="desc", since=(START + 2 * SECOND).isoformat())
    assert (seqs(page), page["total"]) == ([4, 3], 2)


async def test_what_no_view_is(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    cursor = "AAAAAAAAAAEAAAAAAAAAAg"
    wrong: list[dict[str, Any]] = [
        {"dedup": "all"},
        {"dedup": "first", "window_secs": -1},
        {"dedup": "first", "window_secs": 86_401},
        {"offset": -1},
        {"offset": 0, "order": "up"},
        {"offset": 0, "cursor": cursor},
        {"dedup": "none", "cursor": cursor},
    ]
    for query in wrong:
        await ask("GET", f"/api/v1/streams/{stream_id}/reads?{urlencode(query)}", status=400)
    await ask("GET", f"/api/v1/streams/{uuid4()}/reads?offset=0", status=404)


async def test_pages_by_cursor_say_how_many_there_are_where_nobody_must_count(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database, epoch=2)
    await say(database, stream_id, [Said(ADA, 0, 0), Said(ADA, 1, 1)], epoch=1)
    await say(database, stream_id, [Said(ADA, 2, 2)], epoch=2)
    for query, total in (({}, 3), ({"epoch": 1}, 2), ({"epoch": 2**62}, 0), ({"tag_id": ADA}, None)):
        assert (await view(ask, stream_id, **query))["total"] == total


async def test_a_forwarder_s_windows_are_over_all_its_streams(ask: Ask, database: Database) -> None:
    streams = [await add_stream(database, "start", f"10.0.0.{n}:10000") for n in (1, 2)]
    other = await add_stream(database, "finish")
    await say(database, streams[0], [Said(ADA, 0, 0), Said(ADA, 7, 7)])
    await say(database, streams[1], [Said(ADA, 1, 1), Said(BOB, 2, 2)])
    await say(database, other, [Said(ADA, 3, 3)])
    path = "/api/v1/forwarders/start/reads?"

    async def found(**query: Any) -> list[tuple[int, int]]:
        page = await ask("GET", path + urlencode({"order": "asc", **query}))
        assert page["total"] == len(page["reads"])
        return [(streams.index(UUID(each["stream_id"])), each["seq"]) for each in page["reads"]]

    assert await found() == [(0, 1), (1, 1), (1, 2), (0, 2)]
    assert await found(order="desc") == [(0, 2), (1, 2), (1, 1), (0, 1)]
    assert await found(dedup="first") == [(0, 1), (1, 2), (0, 2)]
    assert await found(dedup="last") == [(1, 1), (1, 2), (0, 2)]
    nobody = await ask(
        "GET", "/api/v1/forwarders/nobody/reads?dedup=first&window_secs=5&limit=50&offset=0&order=desc"
    )
    assert nobody == {"reads": [], "next_cursor": None, "total": 0, "limit": 50, "offset": 0}


async def test_a_page_of_very_long_lines_says_where_the_next_begins(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PAGE_BYTES", 100)
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["x" * 60] * 5)
    await add_metrics(database, stream_id, dedup=5)
    found: list[Any] = []
    while page := await view(ask, stream_id, offset=len(found), limit=5):
        if not page["reads"]:
            break
        # What was asked for, or where a page that was cut short ends.
        whole = len(found) + len(page["reads"]) == 5
        assert len(page["reads"]) <= 2
        assert page["limit"] == (5 if whole else len(page["reads"]))
        found += page["reads"]
    assert [each["seq"] for each in found] == [1, 2, 3, 4, 5]


# --- whatever is said ------------------------------------------------------------------------------------


def oracle(reads: Sequence[Said], *, dedup: Literal["first", "last"], window: float) -> list[int]:
    """Return the seqs of a view, as the document says it, in order of arrival."""
    shown = {n + 1 for n, each in enumerate(reads) if each.tag is None}
    for tag in {each.tag for each in reads if each.tag is not None}:
        numbered = sorted((each.at, n + 1) for n, each in enumerate(reads) if each.tag == tag)
        windows: list[list[tuple[float, int]]] = []
        for at, seq in numbered:
            if not windows or at - windows[-1][0][0] >= window:
                windows.append([])
            windows[-1].append((at, seq))
        shown |= {(each[0] if dedup == "first" else each[-1])[1] for each in windows}
    return [seq for _, seq in sorted((reads[seq - 1].arrived, seq) for seq in shown)]


@pytest.mark.parametrize("number", range(5))
async def test_views_are_what_a_walk_through_all_reads_finds(
    ask: Ask, database: Database, number: int
) -> None:
    chance = random.Random(number)
    stream_id = await add_stream(database)
    tags = [None, ADA, BOB, "058000000003"]
    reads = [Said(chance.choice(tags), chance.randrange(300) / 10, chance.randrange(60)) for _ in range(80)]
    await say(database, stream_id, reads)
    for window in (0, 1, 5, 60):
        for dedup in ("first", "last"):
            page = await view(ask, stream_id, dedup=dedup, window_secs=window)
            expected = oracle(reads, dedup=dedup, window=window)
            assert (seqs(page), page["total"]) == (expected, len(expected)), (dedup, window)


# --- whose they are --------------------------------------------------------------------------------------


@pytest.fixture
async def races(ask: Ask, database: Database) -> dict[str, str]:
    """Two races in which the same chip is another's."""
    made = {}
    for name, person in (("old", "Old"), ("new", "New")):
        made[name] = (await ask("POST", RACES, status=201, json={"name": name}))["race_id"]
        bib = 1 if name == "old" else 2
        await database.execute(
            "INSERT INTO participants VALUES ($1, $2, $3, 'X', NULL, 'F')", UUID(made[name]), bib, person
        )
        await database.execute("INSERT INTO chips VALUES ($1, $2, $3, 1, true)", UUID(made[name]), ADA, bib)
    return made


def whose(read: Any) -> tuple[Any, ...]:
    return tuple(read[name] for name in ("race_id", "bib", "bib_ambiguous", "first_name", "last_name"))


NOBODY = (None, None, False, None, None)


async def test_the_race_of_a_read_is_its_epoch_s_else_its_forwarder_s(
    ask: Ask, database: Database, races: dict[str, str]
) -> None:
    stream_id = await add_stream(database, epoch=2)
    for epoch in (1, 2):
        await say(database, stream_id, [Said(ADA, 0, epoch)], epoch=epoch)
    assert [whose(each) for each in (await view(ask, stream_id))["reads"]] == [NOBODY, NOBODY]
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": races["new"]})
    new = (races["new"], 2, False, "New", "X")
    assert [whose(each) for each in (await view(ask, stream_id))["reads"]] == [new, new]
    await ask("PUT", f"/api/v1/streams/{stream_id}/epochs/1/race", json={"race_id": races["old"]})
    old = (races["old"], 1, False, "Old", "X")
    assert [whose(each) for each in (await view(ask, stream_id))["reads"]] == [old, new]
    # Wherever reads are shown.
    assert whose((await view(ask, stream_id, dedup="first"))["reads"][0]) == new
    latest = await ask("GET", "/api/v1/reads/latest")
    assert [whose(each) for each in latest["reads"]] == [new, old]


async def test_a_chip_may_be_unknown_ambiguous_or_of_a_bib_without_a_person(
    ask: Ask, database: Database, races: dict[str, str]
) -> None:
    race = UUID(races["new"])
    await database.execute(
        "INSERT INTO chips VALUES ($1, $2, 3, 2, false), ($1, $3, 99, 3, true)", race, ADA, BOB
    )
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": races["new"]})
    stream_id = await add_stream(database)
    await say(
        database, stream_id, [Said(ADA, 0, 0), Said(BOB, 1, 1), Said("0580000000ff", 2, 2), Said(None, 3, 3)]
    )
    assert [whose(each) for each in (await view(ask, stream_id))["reads"]] == [
        (races["new"], 2, True, "New", "X"),
        (races["new"], 99, False, None, None),
        (races["new"], None, False, None, None),
        (races["new"], None, False, None, None),
    ]


async def test_exports_name_people_if_asked(
    ask: Ask, client: Any, database: Database, races: dict[str, str]
) -> None:
    stream_id = await add_stream(database, epoch=2)
    await say(database, stream_id, [Said(ADA, 0, 0), Said(BOB, 1, 1)], epoch=1)
    await say(database, stream_id, [Said(ADA, 2, 2)], epoch=2)
    await database.execute(
        "UPDATE participants SET last_name = $1, first_name = $2 WHERE bib = 2", 'back\\slash, "x"', "Zoë\\n"
    )
    await ask("PUT", f"/api/v1/streams/{stream_id}/epochs/1/race", json={"race_id": races["old"]})
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": races["new"]})

    async def export(path: str) -> list[str]:
        async with client.get(f"/api/v1/streams/{stream_id}/{path}") as answer:
            assert answer.status == 200
            text: str = await answer.text()
            return text.splitlines()

    plain = await export("export.csv")
    named = await export("export.csv?participants=true")
    assert named[0] == plain[0] + ",bib,last_name,first_name"
    whose = [",1,X,Old", ",,,", ',2,"back\\slash, ""x""",Zoë\\n']
    assert named[1:] == [row + more for row, more in zip(plain[1:], whose, strict=True)]
    assert await export("export.csv?participants=false") == plain
    epoch = await export("epochs/2/export.csv?participants=true")
    assert (
        epoch[0] == "stream_epoch,seq,reader_timestamp,raw_frame,read_type,chip_id,bib,last_name,first_name"
    )
    assert epoch[1:] == [plain[3] + "," + ADA + whose[2]]
    assert await export("epochs/1/export.csv") == [
        "stream_epoch,seq,reader_timestamp,raw_frame,read_type,chip_id",
        f"{plain[1]},{ADA}",
        f"{plain[2]},{BOB}",
    ]
    assert await export("epochs/1/export.txt") == [line(Said(ADA, 0, 0)), line(Said(BOB, 1, 1))]
    # One that holds nothing, or has not begun.
    assert len(await export("epochs/9/export.csv")) == 1
    assert await export("epochs/9/export.txt") == []
    for suffix in ("csv", "txt"):
        await ask("GET", f"/api/v1/streams/{uuid4()}/epochs/1/export.{suffix}", status=404)
