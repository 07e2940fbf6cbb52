"""Waiting: woken, poll over, or asked to stop."""

import asyncio

from shared.wake import Stop, Wake
from tests.waiting import stretched


async def test_a_wait_ends_by_the_wake_and_the_next_one_waits_again() -> None:
    wake = Wake()
    wake.set()
    wake.set()
    assert await wake.wait(at_most_s=10) is True
    assert await wake.wait(at_most_s=0.01) is False


async def test_a_stop_wakes_all_who_wait_and_those_who_come_late() -> None:
    stop = Stop()
    early = stop.waker()
    waiting = asyncio.create_task(early.wait(at_most_s=60))
    sleeping = asyncio.create_task(stop.sleep(60))
    await asyncio.sleep(0)
    stop.ask()
    stop.ask()
    async with asyncio.timeout(stretched(5)):
        assert await waiting is True
        await sleeping
        assert await stop.waker().wait(at_most_s=60) is True
        await stop.wait()
    assert stop.asked
