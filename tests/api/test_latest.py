"""The newest reads, of all streams or of one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.api.conftest import Ask
from tests.api.overviews import READ
from tests.api.seeds import (
    START,
    Database,
    add_events,
    add_metrics,
    add_stream,
)

LATEST = "/api/v1/reads/latest"


async def test_the_latest_reads_come_from_all_streams(ask: Ask, database: Database) -> None:
    one, other = await add_stream(database), await add_stream(database, "other")
    start = datetime(2026, 5, 3, tzinfo=UTC)
    await add_events(database, one, ["a", "b", READ], received_at=start, step=timedelta(seconds=2))
    await add_events(database, other, ["c", "d"], received_at=start + timedelta(seconds=1))
    await add_metrics(database, one, dedup=3, received_at=start + timedelta(seconds=4))
    await add_metrics(database, other, dedup=2, received_at=start + timedelta(seconds=2))

    async def lines(query: str) -> list[str]:
        return [each["raw_read_line"] for each in (await ask("GET", f"{LATEST}{query}"))["reads"]]

    assert sorted((await lines(""))[1:3]) == ["b", "d"]
    assert (await lines(""))[0::3] == [READ, "c"]
    assert await lines("?limit=1") == [READ]
    assert await lines(f"?stream_id={other}") == ["d", "c"]
    (read,) = (await ask("GET", f"{LATEST}?tag_id={READ[4:16].upper()}"))["reads"]
    assert (await ask("GET", f"{LATEST}?tag_id=none, {READ[4:16].upper()}"))["reads"] == [read]
    assert (read["stream_id"], read["seq"]) == (str(one), 3)
    # None of those that are asked for is left out unsaid.
    many = [f"{n:012x}" for n in range(199)]
    for named in ([*many, READ[4:16]], [*many, READ[4:16], READ[4:16].upper()]):
        assert (await ask("GET", LATEST, params={"tag_id": ",".join(named)}))["reads"] == [read]
    refused = await ask("GET", LATEST, status=400, params={"tag_id": ",".join([*many, "a", "b"])})
    assert "names 201 chips; ask for 200 at the most" in refused["message"]
    await ask("GET", f"{LATEST}?limit=201", status=400)


async def test_of_a_stream_only_what_was_stored_since_an_answer_is_told_again(
    ask: Ask, database: Database
) -> None:
    stream_id, other = await add_stream(database), await add_stream(database, "other")

    async def lines(**query: str) -> tuple[list[str], str]:
        answer = await ask("GET", LATEST, params={"stream_id": str(stream_id), **query})
        return [each["raw_read_line"] for each in answer["reads"]], answer["cursor"]

    assert (await lines())[0] == []
    await add_events(database, stream_id, ["a", "b", "c"])
    await add_events(database, other, ["z"])
    found, cursor = await lines()
    assert found == ["c", "b", "a"]
    assert await lines(after=cursor) == ([], cursor)
    # Late ones, by number and by time: what counts is when they were stored.
    await add_events(database, stream_id, ["d", "e"], epoch=2, received_at=START - timedelta(days=1))
    assert (await lines(after=cursor))[0] == ["e", "d"]
    assert (await lines(after=cursor, limit="1"))[0] == ["e"]
    assert (await lines(after=cursor, tag_id="none"))[0] == []
    assert (await ask("GET", LATEST))["cursor"] is None
    await ask("GET", LATEST, params={"after": cursor}, status=400)


async def test_reads_of_the_mats_of_a_point_are_asked_for_together(ask: Ask, database: Database) -> None:
    left, right, other = [await add_stream(database, name) for name in ("left", "right", "other")]
    for n, (stream_id, line) in enumerate(((left, "a"), (other, "b"), (right, READ), (left, "d"))):
        seq = 1 if line != "d" else 2
        await add_events(database, stream_id, [line], first_seq=seq, received_at=START + timedelta(seconds=n))

    async def lines(*stream_ids: object, **more: str) -> list[str]:
        answer = await ask("GET", LATEST, params={"stream_ids": ",".join(map(str, stream_ids)), **more})
        assert answer["cursor"] is None
        return [each["raw_read_line"] for each in answer["reads"]]

    assert await lines(left, right) == ["d", READ, "a"]
    assert await lines(left, right, left, limit="2") == ["d", READ]
    assert await lines(left, right, tag_id=READ[4:16]) == [READ]
    assert await lines(left, other, tag_id=READ[4:16]) == []
    for wrong, words in (
        ({"stream_ids": "none"}, "ids of streams"),
        ({"stream_ids": ",".join(str(UUID(int=n)) for n in range(51))}, "names 51 streams; ask for 50"),
        ({"stream_ids": str(left), "stream_id": str(left)}, "not both"),
    ):
        assert words in (await ask("GET", LATEST, status=400, params=wrong))["message"]
