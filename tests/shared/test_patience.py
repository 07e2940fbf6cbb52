"""What needs the database is tried again until it is there, by each at a moment of its own."""

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.db import patience
from shared.db.errors import DatabaseFault, DatabaseRefused, DatabaseUnavailable
from shared.db.patience import patiently, promptly, retry_pause_s


async def test_it_is_tried_until_the_database_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.001)
    errors = [DatabaseUnavailable("away"), DatabaseFault("a right is missing")]

    async def act() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    with capture_logs() as lines:
        assert await patiently(act, waits="session_waits", session_id="1") == "done"
    assert [(line["event"], line["log_level"], line["error"], line["session_id"]) for line in lines] == [
        ("session_waits", "debug", "away", "1"),
        ("session_waits", "debug", "a right is missing", "1"),
    ]


async def test_what_is_refused_is_not_tried_again() -> None:
    async def act() -> None:
        raise DatabaseRefused("no")

    with pytest.raises(DatabaseRefused):
        await patiently(act, waits="session_waits")


def test_those_who_wait_for_the_same_database_come_at_different_moments() -> None:
    pauses = [retry_pause_s() for _ in range(100)]
    assert max(pauses) - min(pauses) > patience.RETRY_S / 2
    assert all(patience.RETRY_S / 2 <= each <= patience.RETRY_S * 3 / 2 for each in pauses)


async def _hangs(begun: asyncio.Event, confirmed: asyncio.Event) -> None:
    """As a statement does whose server is silent: that it is cancelled is confirmed when it is."""
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        await confirmed.wait()


async def test_what_hangs_is_not_waited_for_when_its_time_is_over_nor_when_cancelled() -> None:
    begun, confirmed = asyncio.Event(), asyncio.Event()
    with pytest.raises(TimeoutError):
        await promptly(_hangs(begun, confirmed), within_s=0.01)
    waiting = asyncio.create_task(promptly(_hangs(begun, confirmed)))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not confirmed.is_set()
    confirmed.set()


async def test_what_is_done_in_time_gives_its_result_or_its_error() -> None:
    async def fails() -> None:
        raise DatabaseUnavailable("away")

    assert await promptly(asyncio.sleep(0, "done"), within_s=60) == "done"
    with pytest.raises(DatabaseUnavailable):
        await promptly(fails(), within_s=60)
