"""Work that is started on the way: owned by whoever starts it, and never silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from shared.db.errors import DatabaseRefused
from shared.runtime.tasks import Tasks
from shared.wake import Stop
from tests.waiting import wait_until


@asynccontextmanager
async def owning(tasks: Tasks) -> AsyncIterator[Stop]:
    """Own what is started inside; what goes on afterwards ends as at a stop."""
    stop = Stop()
    owner = asyncio.create_task(tasks.during(stop.wait()))
    await asyncio.sleep(0)
    try:
        yield stop
    finally:
        stop.ask()
        await owner


async def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [DatabaseRefused("no"), KeyError("no")])
async def test_a_failure_is_an_error_in_the_log_and_hurts_nobody_else(error: Exception) -> None:
    tasks, proceed = Tasks(stop_within_s=60), asyncio.Event()
    async with owning(tasks):
        with capture_logs() as lines:
            other = tasks.start("other", proceed.wait())
            await tasks.start("probe", fail(error), session_id="s")
        proceed.set()
        assert await other is True
    (line,) = lines
    assert (line["event"], line["log_level"], line["task"], line["session_id"]) == (
        "task_failed",
        "error",
        "probe",
        "s",
    )
    assert line["exc_info"]


async def test_a_stop_waits_for_what_is_under_way_and_for_what_that_starts() -> None:
    tasks, proceed, done = Tasks(stop_within_s=60), asyncio.Event(), asyncio.Event()

    async def last() -> None:
        await asyncio.sleep(0)
        done.set()

    async def first() -> None:
        await proceed.wait()
        tasks.start("last", last())

    async with owning(tasks) as stop:
        tasks.start("first", first())
        stop.ask()
        await asyncio.sleep(0)
        proceed.set()
    assert done.is_set()


async def test_what_does_not_end_in_time_is_cancelled() -> None:
    tasks = Tasks(stop_within_s=0.01)
    async with owning(tasks):
        endless = tasks.start("endless", asyncio.Event().wait())
    assert endless.cancelled()


async def test_an_owner_s_failure_ends_all_and_comes_out() -> None:
    tasks, failing = Tasks(stop_within_s=60), asyncio.Event()

    async def own() -> None:
        await failing.wait()
        raise KeyError("owner")

    owner = asyncio.create_task(tasks.during(own()))
    await asyncio.sleep(0)
    endless = tasks.start("endless", asyncio.Event().wait())
    failing.set()
    with pytest.raises(ExceptionGroup) as raised:
        await owner
    assert raised.group_contains(KeyError, match="owner")
    await wait_until(endless.cancelled, what="its end")


async def test_nothing_is_started_without_an_owner() -> None:
    with pytest.raises(RuntimeError, match="before its owner"):
        Tasks().start("early", asyncio.sleep(0))
