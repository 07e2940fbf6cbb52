"""Crossings of a race as CSV: the same as the pages have, whole, in the order of the course."""

import csv
import io
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from api.passings.store import fill
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Client
from tests.api.crossed import arrange, come_by, make_race, tag
from tests.api.seeds import Database, add_stream
from tests.api.test_crossings import at, crossings

HEAD = (
    "place point bib last_name first_name chips crossed_at rule why reads stream_id stream_epoch seq first_read_at "
    "last_read_at"
)


async def exported(client: Client, race: str, **query: Any) -> list[dict[str, str]]:
    async with client.get(f"{RACES}/{race}/crossings.csv?{urlencode(query)}") as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/csv", "utf-8")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="10-km_crossings.csv"'
        rows = csv.DictReader(io.StringIO(await answer.text()))
        assert rows.fieldnames is not None
        assert " ".join(rows.fieldnames) == HEAD
        return list(rows)


async def test_the_file_has_what_the_pages_have(ask: Ask, client: Client, database: Database) -> None:
    race = await make_race(ask, "1,1\n1,4\n2,2", people='1,"Byron; née Gordon",Ada\n2,O\'Neil,Zoë\n')
    streams = await arrange(ask, database, race, Start=["gun"], **{"Finish, left": ["line"]})
    await come_by(database, streams["line"], [(2, 70), (7, 80), (1, 60.25), (4, 61.5), (2, 200)])
    await come_by(database, streams["gun"], [(2, 0), (2, 1), (9, 2)])
    rows = await exported(client, race)
    assert [(each["place"], each["point"], each["bib"], each["chips"]) for each in rows] == [
        ("1", "Start", "2", tag(2)),
        ("1", "Start", "", tag(9)),
        ("2", "Finish, left", "1", f"{tag(1)} {tag(4)}"),
        ("2", "Finish, left", "2", tag(2)),
        ("2", "Finish, left", "2", tag(2)),
        ("2", "Finish, left", "", tag(7)),
    ]
    ada = rows[2]
    assert (ada["last_name"], ada["first_name"]) == ('"Byron; née Gordon"', "Ada")
    assert (ada["crossed_at"], ada["first_read_at"], ada["last_read_at"]) == (
        f"{at(60.25)[:-3]}",
        f"{at(60.25)[:-3]}",
        f"{at(61.5)[:-3]}",
    )
    shown = await crossings(ask, race)
    key = ("stream_id", "stream_epoch", "seq")
    assert sorted(
        (
            each["point_name"],
            each["why"],
            str(each["read_count"]),
            *(str(each["counted"][name]) for name in key),
        )
        for each in shown
    ) == sorted((each["point"], each["why"], each["reads"], *(each[name] for name in key)) for each in rows)


async def test_the_file_takes_the_filters_of_the_pages(ask: Ask, client: Client, database: Database) -> None:
    race = await make_race(ask, "1,1\n1,4\n2,2")
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["gun"], [(1, 0), (2, 1), (1, 6)])
    await come_by(database, streams["line"], [(4, 60), (2, 61), (1, 90), (8, 95)])
    for query in (
        {},
        {"gap": 7},
        {"point": 2},
        {"bib": 1},
        {"bib": 5},
        {"chip": tag(4).upper()},
        {"chip": tag(8)},
        {"point": 1, "bib": 2},
    ):
        rows, shown = await exported(client, race, **query), await crossings(ask, race, **query)
        assert sorted((each["seq"], each["point"]) for each in rows) == sorted(
            (str(each["counted"]["seq"]), each["point_name"]) for each in shown
        ), query


async def test_what_cannot_be_exported_is_said_before_the_answer_begins(ask: Ask, client: Client) -> None:
    race = await make_race(ask)
    await ask("GET", f"{RACES}/{uuid4()}/crossings.csv", status=404)
    await ask("GET", f"{RACES}/{race}/crossings.csv?point=1", status=404)
    await ask("GET", f"{RACES}/{race}/crossings.csv?gap=0", status=400)
    await ask("GET", f"{RACES}/{race}/crossings.csv?cursor=x", status=400)
    assert await exported(client, race) == []
    async with client.head(f"{RACES}/{race}/crossings.csv") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.content_type == "text/csv"
    async with client.head(f"{RACES}/{uuid4()}/crossings.csv") as answer:
        assert answer.status == 404


async def test_of_much_that_is_not_in_crossings_yet_there_is_no_file_and_the_pages_say_how_much(
    ask: Ask, client: Client, database: Database, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.exports.crossings.MOST_WAITING", 2)
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    other = await add_stream(database, "of no race")
    for stream_id in (streams["line"], other):
        await come_by(database, stream_id, [(1, 0), (2, 60), (3, 120)])

    async def waiting() -> list[int]:
        paths = [f"{RACES}/{race}/{each}" for each in ("crossings", "flow")]
        return [(await ask("GET", each))["waiting_events"] for each in paths]

    assert (await waiting(), len(await exported(client, race))) == ([0, 0], 3)
    await database.execute("DELETE FROM passings_progress")
    assert await waiting() == [3, 3]
    refused = await ask("GET", f"{RACES}/{race}/crossings.csv", status=503)
    assert "3 stored events of the race's streams are not in crossings yet" in refused["message"]
    async with client.head(f"{RACES}/{race}/crossings.csv") as answer:
        assert answer.status == 503
    # As far as it may be behind in the middle of a race, and all of it.
    await database.execute("UPDATE streams SET last_position = 2 WHERE stream_id = $1", streams["line"])
    assert await exported(client, race) == []
    await database.execute("UPDATE streams SET last_position = 3 WHERE stream_id = $1", streams["line"])
    assert (await fill(process.pool, most_events=100))[:2] == (6, 0)
    assert (await waiting(), len(await exported(client, race))) == ([0, 0], 3)
