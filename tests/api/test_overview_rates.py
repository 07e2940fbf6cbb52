"""The first page: how fast reads come, and how late a last one is."""

from datetime import timedelta
from uuid import UUID

from api.alerts.evaluator import Evaluation
from api.alerts.samples import BIN_S
from tests.api.conftest import Ask
from tests.api.looking import OVERVIEW, ago, looked
from tests.api.overviews import add_conflict, signals
from tests.api.seeds import (
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_stream,
)
from tests.waiting import wait_until


async def bins_later(database: Database, bins: int = 1) -> None:
    """Let so many bins have passed since the last look; none ends by itself before the next."""

    async def is_early() -> bool:
        return bool(await database.fetchval("SELECT mod(extract(epoch FROM now()), 10) < 9"))

    await wait_until(is_early, what="the next bin")
    await database.execute("UPDATE stream_samples SET bin = floor(extract(epoch FROM now()) / 10) - $1", bins)


async def test_the_sparkline_counts_events_in_bins(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await looked(ask, evaluation)
    for count in (3, 0, 5):
        await add_events(database, stream_id, ["x"] * count, first_seq=count * 10 + 1)
        await bins_later(database)
        (card,) = (await looked(ask, evaluation))["streams"]
    assert card["rate"] == [0] * 177 + [3, 0, 5]


async def test_bins_that_nobody_saw_share_what_came_meanwhile(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await looked(ask, evaluation)
    await add_events(database, stream_id, ["x"] * 10)
    await bins_later(database, 3)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card["rate"][-4:] == [0, 3, 3, 4]
    await bins_later(database, 100_000)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card["rate"] == [0] * 180


async def test_events_per_second_are_those_of_the_last_ten_seconds(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await looked(ask, evaluation)
    await add_events(database, stream_id, ["x"] * 50)
    await bins_later(database, 0)
    (card,) = (await ask("GET", OVERVIEW))["streams"]
    assert card["events_per_second"] == 5.0
    for _ in range(2):
        await bins_later(database)
        (card,) = (await looked(ask, evaluation))["streams"]
    assert card["events_per_second"] == 0.0


async def test_what_has_lost_its_stream_is_removed(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await add_conflict(database, stream_id)
    await looked(ask, evaluation)
    await database.execute("DELETE FROM streams")
    overview = await looked(ask, evaluation)
    assert signals(overview) == {}
    assert await database.fetchval("SELECT count(*) FROM stream_samples") == 0


async def test_a_last_read_is_late_by_what_is_usual(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID
) -> None:
    for forwarder_id, gap_s in (("busy", 1), ("lonely", 600)):
        stream_id = await add_stream(database, forwarder_id)
        await add_forwarder_session(database, forwarder_id, gateway)
        last = await ago(database, 60)
        first = last - timedelta(seconds=9 * gap_s)
        await add_events(database, stream_id, ["x"] * 10, received_at=first, step=timedelta(seconds=gap_s))
        await add_metrics(database, stream_id, dedup=10, received_at=last)
    overview = await looked(ask, evaluation)
    assert [each["level"] for each in overview["streams"]] == ["act", "good"]


def test_bins_are_what_the_schema_says() -> None:
    assert BIN_S * 180 == 30 * 60
