"""The one loop of all background work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.db.errors import DatabaseFault, DatabaseUnavailable
from shared.db.poll_loop import Outage, PollLoop
from shared.metrics import POLLS_FOUND_WORK
from shared.wake import Stop
from tests.metrics import total
from tests.waiting import wait_until

HOUR_S = 3_600.0
CHANNEL = "rt_test"


class Work:
    """Counts how often it is done; fails as long as it is told to."""

    def __init__(self) -> None:
        self.times = 0
        self.fails = False
        self.found = False

    async def __call__(self) -> bool:
        self.times += 1
        if self.fails:
            raise DatabaseUnavailable("away")
        return self.found

    async def done(self, times: int) -> None:
        await wait_until(lambda: self.times >= times, what=f"{times} times")


def counted() -> float:
    return total(POLLS_FOUND_WORK.labels(CHANNEL))


@asynccontextmanager
async def looping(work: Callable[[], Awaitable[object]], **more: Any) -> AsyncIterator[PollLoop]:
    stop = Stop()
    loop = PollLoop(
        more.pop("name", "test"),
        work,
        stop=stop,
        outage=more.pop("outage", Outage()),
        **{"poll_s": HOUR_S, **more},
    )
    running = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        stop.ask()
        await running


async def test_it_works_at_its_start_when_it_is_woken_and_when_the_poll_is_over() -> None:
    work = Work()
    async with looping(work) as loop:
        await work.done(1)
        loop.wake()
        await work.done(2)
    assert work.times == 2
    async with looping(work, poll_s=0.001):
        await work.done(5)


async def test_being_woken_at_work_is_one_more_look() -> None:
    begun, go_on, times = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        times.append(1)
        begun.set()
        await go_on.wait()

    async with looping(work) as loop:
        await begun.wait()
        loop.wake()
        loop.wake()
        go_on.set()
        await wait_until(lambda: len(times) == 2, what="one more look")
        await asyncio.sleep(0.05)
    assert len(times) == 2


async def test_a_stop_ends_it_after_the_work_that_is_under_way() -> None:
    stop, begun, ended = Stop(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.05)
        ended.append(1)

    running = asyncio.create_task(PollLoop("test", work, stop=stop, outage=Outage(), poll_s=HOUR_S).run())
    await begun.wait()
    stop.ask()
    await running
    assert ended == [1]


async def test_the_wait_is_as_long_as_the_work_says_each_time() -> None:
    work, waits = Work(), iter([0.0, 0.0, HOUR_S])
    async with looping(work, poll_s=lambda: next(waits)):
        await work.done(3)
        await asyncio.sleep(0.05)
    assert work.times == 3


async def test_what_a_poll_found_is_counted_and_nothing_else() -> None:
    work, before = Work(), counted()
    work.found = True
    async with looping(work, channel=CHANNEL) as loop:
        await work.done(1)
        loop.wake()
        await work.done(2)
    assert counted() == before
    async with looping(work, channel=CHANNEL, poll_s=0.001):
        await work.done(work.times + 3)
    assert counted() > before


async def test_what_an_outage_kept_waiting_is_no_lost_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.patience.RETRY_S", 0.001)
    work, before = Work(), counted()
    work.fails, work.found = True, True
    async with looping(work, channel=CHANNEL):
        await work.done(3)
        work.fails = False
        await work.done(work.times + 1)
    assert counted() == before


async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends_for_all_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.db.patience.RETRY_S", 0.001)
    works, outage = [Work(), Work(), Work()], Outage()
    failures: list[DatabaseUnavailable] = []
    with capture_logs() as lines:
        for work in works[:2]:
            work.fails = True
        async with (
            looping(works[0], name="first", outage=outage, on_failure=failures.append),
            looping(works[1], name="second", outage=outage),
            looping(works[2], name="third", outage=outage, poll_s=0.001),
        ):
            for work in works:
                await work.done(10)
            works[0].fails = False
            await works[0].done(works[0].times + 1)
            assert said(lines) == ["database_unavailable"]
            works[1].fails = False
            await wait_until(lambda: len(said(lines)) == 2, what="the end of the outage")
    assert said(lines) == ["database_unavailable", "database_available"]
    assert len(failures) >= 10
    assert {str(each) for each in failures} == {"away"}


async def test_a_loop_that_ends_in_an_outage_says_nothing_of_the_database_and_holds_nothing_open() -> None:
    work, outage = Work(), Outage()
    work.fails = True
    with capture_logs() as lines:
        async with looping(work, outage=outage):
            await work.done(1)
        outage.began("another", DatabaseUnavailable("away"))
        outage.ended("another")
    assert said(lines) == ["database_unavailable", "database_unavailable", "database_available"]


def test_what_is_wrong_for_long_in_one_loop_hides_no_outage() -> None:
    outage = Outage()
    with capture_logs() as lines:
        outage.began("tidying", DatabaseFault("a right is missing"))
        outage.began("writing", DatabaseUnavailable("away"))
        outage.began("tidying", DatabaseUnavailable("away"))
        outage.began("tidying", DatabaseFault("a right is missing"))  # so the database answers
        outage.ended("writing")
        outage.began("writing", DatabaseUnavailable("away"))
        outage.ended("writing")
        outage.ended("tidying")
    told = [(line["event"], line["error"]) for line in lines if line["log_level"] == "warning"]
    begins, ends = "database_unavailable", "database_available"
    assert told == [
        (begins, "a right is missing"),
        (begins, "away"),
        (ends, "away"),
        (begins, "away"),
        (ends, "away"),
        (ends, "a right is missing"),
    ]


def said(lines: Any) -> list[str]:
    return [line["event"] for line in lines if line["log_level"] == "warning"]
