"""Of two mats of a point one that sees less than four fifths of what the other sees is amber."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from api.mats.store.kept import points
from api.mats.watching import Watching
from shared.protocol.memory import memory_of
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask
from tests.api.crossed import arrange
from tests.api.looking import looked
from tests.api.rules.twin import twin
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream
from tests.api.test_mats import alerts, store
from tests.api.watching import level_of


@pytest.mark.parametrize(
    ("seen", "chips", "level"),
    [(160, 200, "good"), (159, 200, "watch"), (0, 200, "watch"), (0, 49, "good"), (0, 50, "watch")],
)
def test_the_bound_is_four_fifths_of_its_twin_s_chips(seen: int, chips: int, level: str) -> None:
    assert level_of(twin(seen, chips=chips)) == level


def test_a_mat_without_its_forwarder_or_closed_is_not_blamed() -> None:
    assert level_of(twin(0, online=False)) == level_of(twin(0, closed=True)) == "good"


@pytest.fixture
async def watching(process: Process) -> AsyncIterator[Watching]:
    watching = Watching(process)
    yield watching
    watching.close()


async def test_the_last_two_hundred_chips_of_a_point_are_compared(
    ask: Ask, race: str, database: Database, evaluation: Evaluation, watching: Watching
) -> None:
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["left", "right"])
    gateway = await add_process(database, "gateway")
    for name in streams:
        await add_forwarder_session(database, name, gateway)
    # One sees three of four behind the first hundred, and its reads of the last moments are on their way.
    both = [(float(n), n) for n in range(320)]
    await store(database, streams["left"], both, now_s=320)
    await store(
        database, streams["right"], [each for each in both if 100 <= each[1] < 310 and each[1] % 4], now_s=320
    )
    await watching.look()
    left, right = await shown(ask, race, streams["left"], streams["right"])
    # So 310 to 319 do not count, and 110 to 309 do.
    assert (left, right) == ((200, 200), (150, 200))
    alert = alerts(await looked(ask, evaluation))["twin"]
    assert (alert["level"], alert["stream_id"]) == ("watch", str(streams["right"]))
    assert "has seen 150 of the last 200 chips at Finish · 10 km, its twin 200" in alert["reason"]
    # Taken away from there it is no twin, nor is the other one.
    start, finish = streams["gun"], streams["left"]
    points = [{"name": "Start", "stream_ids": [str(start)]}, {"name": "Finish", "stream_ids": [str(finish)]}]
    await ask("PUT", f"{RACES}/{race}/course", json={"points": points})
    await watching.look()
    assert await database.fetchval("SELECT count(*) FROM mat_shares") == 0


async def test_what_a_memory_had_is_no_mat_of_its_point(
    ask: Ask, race: str, database: Database, evaluation: Evaluation, watching: Watching
) -> None:
    """Placed where its reader stands: it has seen few of all, and has come this moment whenever that was."""
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["left", "right"])
    gateway = await add_process(database, "gateway")
    for name in streams:
        await add_forwarder_session(database, name, gateway)
    memory = await add_stream(database, "right", memory_of("10.0.0.1:10000"))
    mats = [streams["left"], streams["right"]]
    await database.execute(
        "INSERT INTO point_streams (race_id, place, stream_id) VALUES ($1, 2, $2)", race, memory
    )
    await store(database, streams["gun"], [(n / 2, n) for n in range(300)], now_s=1_600)
    for each in mats:
        await store(database, each, [(600.0 + n, n) for n in range(300)], now_s=1_600)
    await store(database, memory, [(600.0 + n, n) for n in range(0, 300, 100)], now_s=800)
    await watching.look()
    assert await database.fetchval("SELECT stream_ids FROM point_watches WHERE place = 2") == sorted(mats)
    assert {row["stream_id"] for row in await database.fetch("SELECT stream_id FROM mat_shares")} == set(mats)
    silent_s = [each.silent_s for each in await points(database) if each.place == 2]
    assert len(silent_s) == 1
    assert (silent_s[0] or 0) > 600
    # What is due there counts from the last that a mat has told.
    newest = "SELECT newest_at < now() - interval '10 minutes' FROM point_watches WHERE place = 2"
    assert await database.fetchval(newest)
    assert "twin" not in alerts(await looked(ask, evaluation))


async def shown(ask: Ask, race: str, *streams: UUID) -> list[tuple[int, int]]:
    points = (await ask("GET", f"{RACES}/{race}/course"))["points"]
    mats = {
        each["stream_id"]: (each["seen"], each["of_chips"]) for point in points for each in point["streams"]
    }
    return [mats[str(each)] for each in streams]
