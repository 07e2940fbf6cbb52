"""How many epochs a forwarder may begin: what is beyond stays in it; what is commanded is taken all the same."""

from collections.abc import AsyncIterator

import pytest

from gateway import admitted, session
from gateway.admitted import Epoch, admit
from gateway.store.streams import EpochsStored
from shared.protocol.memory import memory_of
from tests.api.seeds import add_metrics
from tests.failure.facts import Database
from tests.failure.wire import READER, batch, forwarder, read
from tests.gateway.conftest import Inside, running_gateway
from tests.services import make_token

pytestmark = pytest.mark.usefixtures("writer")

AT_MOST = 5
FAULTS = "SELECT fault, complaint FROM forwarder_faults WHERE ended_at IS NULL"
EPOCHS = """
SELECT reader_ip, metrics.stream_epoch FROM stream_metrics AS metrics JOIN streams USING (stream_id) ORDER BY 1, 2
"""


@pytest.fixture
async def bounded(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Inside]:
    """A gateway that takes five epochs of a forwarder and tells one of which nothing is taken at once."""
    monkeypatch.setattr(session, "REFUSE_AFTER_S", 0.0)
    monkeypatch.setattr(admitted, "ASK_AGAIN_AFTER_S", 0.0)
    token = await make_token(database, "forwarder", "f")
    async with running_gateway(database_url, token, max_epochs=str(AT_MOST)) as inside:
        yield inside


async def test_epochs_beyond_the_bound_stay_in_the_device_and_operators_are_told(
    bounded: Inside, database: Database
) -> None:
    async with forwarder(bounded.url, bounded.token) as wire:
        # All in one batch: none of it is stored when it is decided.
        await wire.send(batch(*(read(1, epoch=epoch) for epoch in range(1, 11))))
        assert await wire.ack() == [(READER, 1, 1)]
        await wire.send(batch(read(1, epoch=11), read(2, epoch=2)))
        assert await wire.ack() == [(READER, 2, 2)]
        await wire.send(batch(read(1, epoch=12)))
        assert await wire.ack() == []
    expected = [(READER, epoch) for epoch in range(1, AT_MOST + 1)]
    assert [tuple(row) for row in await database.fetch(EPOCHS)] == expected
    ((fault, complaint),) = await database.fetch(FAULTS)
    assert fault == "too_many_epochs"
    assert complaint.startswith(
        f"more than {AT_MOST} epochs; not taken: {READER} epoch 6, {READER} epoch 7, "
    )
    assert await database.fetchval("SELECT count(*) FROM activity WHERE event = 'epochs_left_out'") == 1


async def test_a_session_that_comes_back_finds_the_bound_where_it_was(
    bounded: Inside, database: Database
) -> None:
    for _ in range(2):
        async with forwarder(bounded.url, bounded.token) as wire:
            await wire.send(batch(*(read(1, epoch=epoch) for epoch in range(1, AT_MOST + 3))))
            await wire.ack()
    assert len(await database.fetch(EPOCHS)) == AT_MOST


async def test_what_a_memory_had_is_no_epoch_of_the_device(bounded: Inside, database: Database) -> None:
    memory = await database.fetchval(
        "INSERT INTO streams (forwarder_id, reader_ip) VALUES ('f', $1) RETURNING stream_id",
        memory_of(READER),
    )
    for epoch in range(1, AT_MOST + 1):
        await add_metrics(database, memory, epoch=epoch, dedup=1)
    async with forwarder(bounded.url, bounded.token) as wire:
        await wire.send(batch(*(read(1, epoch=epoch) for epoch in range(1, AT_MOST + 1))))
        assert await wire.ack() == [(READER, 1, 1)]
    stored = [row["stream_epoch"] for row in await database.fetch(EPOCHS) if row["reader_ip"] == READER]
    assert stored == list(range(1, AT_MOST + 1))
    assert await database.fetch(FAULTS) == []


async def test_what_is_commanded_is_taken_beyond_the_bound(bounded: Inside, database: Database) -> None:
    async with forwarder(bounded.url, bounded.token) as wire:
        await wire.send(batch(*(read(1, epoch=epoch) for epoch in range(1, AT_MOST + 1))))
        await wire.ack()
        await database.execute("UPDATE streams SET commanded_epoch = 9")
        await wire.send(batch(read(1, epoch=9), read(1, epoch=10)))
        assert await wire.ack() == [(READER, 9, 1)]


NONE = EpochsStored(0, set(), set())


@pytest.mark.parametrize(
    ("asked", "stored", "waiting", "taken"),
    [
        ([1, 2, 3, 4], NONE, set(), {1, 2, 3}),
        ([1, 2, 3, 4], NONE, {8, 9}, {1}),
        ([1, 2], NONE._replace(total=3), set(), set()),
        ([1, 2], NONE._replace(total=3, known={("r", 2)}), set(), {2}),
        ([1, 2], NONE._replace(total=5, commanded={("r", 2)}), set(), {2}),
        ([1, 2], NONE._replace(total=6, commanded={("r", 2)}), set(), set()),
        ([1], NONE._replace(total=9), {1}, {1}),
        # One of those that were waited for has its row by now, and is not counted twice.
        ([1], NONE._replace(total=2, known={("r", 8)}), {8}, {1}),
    ],
)
def test_who_is_admitted(asked: list[int], stored: EpochsStored, waiting: set[int], taken: set[int]) -> None:
    def of(epochs: set[int]) -> set[Epoch]:
        return {("r", epoch) for epoch in epochs}

    assert admit([("r", epoch) for epoch in asked], stored, of(waiting), at_most=3) == of(taken)
