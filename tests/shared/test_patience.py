"""What needs the database is tried again until it is there, by each at a moment of its own."""

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.db import patience
from shared.db.errors import DatabaseFault, DatabaseRefused, DatabaseUnavailable
from shared.db.patience import left_undone, patiently, promptly, retry_pause_s
from shared.errors import ConnectionGone


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


async def test_it_is_tried_no_more_when_that_has_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.001)
    tries = 0

    async def act() -> None:
        nonlocal tries
        tries += 1
        raise DatabaseUnavailable(f"away {tries}")

    with pytest.raises(DatabaseUnavailable, match="away 3"):
        await patiently(act, waits="session_waits", in_vain=lambda: tries == 3)


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DatabaseRefused("no"), ["no"]),
        (DatabaseUnavailable("away"), []),
        (ConnectionGone("gone"), []),
        (ExceptionGroup("both", [ConnectionGone("gone"), DatabaseUnavailable("away")]), []),
        (ExceptionGroup("both", [ConnectionGone("gone"), DatabaseRefused("no")]), ["both (1 sub-exception)"]),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_what_fails_when_nobody_waits_any_more_is_loud_where_it_is_a_fault(
    error: Exception, said: list[str]
) -> None:
    ended = asyncio.Event()

    async def fails_late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_soon(ended.set)
            raise error

    with capture_logs() as lines:
        with pytest.raises(TimeoutError):
            await promptly(fails_late(), within_s=0.01)
        await ended.wait()
        await asyncio.sleep(0)
    assert [str(line["exc_info"]) for line in lines if line["event"] == "task_failed"] == said


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (DatabaseUnavailable("away"), "debug"),
        (TimeoutError(), "debug"),
        (DatabaseFault("a right is missing"), "warning"),
    ],
)
def test_what_is_left_undone_is_said_where_no_loop_does(
    error: DatabaseUnavailable | TimeoutError, level: str
) -> None:
    with capture_logs() as lines:
        left_undone("session_row_left", error, session_id="1")
    assert [(line["event"], line["log_level"], line["session_id"]) for line in lines] == [
        ("session_row_left", level, "1")
    ]


async def test_what_is_done_in_time_gives_its_result_or_its_error() -> None:
    async def fails() -> None:
        raise DatabaseUnavailable("away")

    assert await promptly(asyncio.sleep(0, "done"), within_s=60) == "done"
    with pytest.raises(DatabaseUnavailable):
        await promptly(fails(), within_s=60)
