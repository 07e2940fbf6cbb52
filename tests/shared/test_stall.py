"""A loop that is held is found, with the share of it that was work."""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from shared.runtime.stall import Longest, measuring_stalls
from tests.services import services
from tests.waiting import wait_until

HELD_S = 0.2


def number(name: str) -> float:
    found = REGISTRY.get_sample_value(f"rtserver_loop_{name}")
    assert found is not None
    return found


def work() -> None:
    until = time.thread_time() + HELD_S
    while time.thread_time() < until:
        pass


async def hold(how: Callable[[], None]) -> tuple[float, float, float]:
    """Hold a loop that is measured; the longest stall, the longest of its own work, and how many there were."""
    before = number("stall_seconds_count")
    with measuring_stalls():
        await asyncio.sleep(0)
        how()
        await wait_until(lambda: number("stall_seconds_count") > before, what="the timer")
        return (
            number("longest_stall_seconds"),
            number("longest_own_stall_seconds"),
            number("stall_seconds_count") - before,
        )


# The timer was due 50 ms after the loop was taken at the latest.
async def test_work_in_one_go_is_a_stall_of_its_own() -> None:
    longest, own, count = await hold(work)
    assert longest >= own >= HELD_S - 0.06
    assert count >= 1


async def test_a_call_that_blocks_is_a_stall_without_work() -> None:
    longest, own, _ = await hold(lambda: time.sleep(HELD_S))
    assert longest >= HELD_S - 0.06
    assert own < HELD_S / 2


@pytest.mark.parametrize(
    ("noted", "now", "expected"),
    [
        ([], 5.0, 0.0),
        ([(0.3, 1.0), (0.2, 2.0)], 3.0, 0.3),
        ([(0.3, 1.0), (0.2, 20.0)], 60.0, 0.3),
        ([(0.3, 1.0), (0.2, 20.0)], 75.0, 0.2),
        ([(0.3, 1.0), (0.2, 20.0)], 1_000.0, 0.0),
        ([(0.1, float(at)) for at in range(0, 600, 10)], 600.0, 0.1),
    ],
)
def test_only_the_last_minute_counts(noted: list[tuple[float, float]], now: float, expected: float) -> None:
    longest = Longest()
    for seconds, at in noted:
        longest.note(seconds, now=at)
    assert longest.at(now) == expected


async def test_every_process_measures_its_loop(database_url: str) -> None:
    async with services(database_url, api=1) as running:
        for process in running.all:
            process.signal(signal.SIGSTOP)
        await asyncio.sleep(HELD_S)
        for process in running.all:
            process.signal(signal.SIGCONT)
        for process in running.all:
            longest_s = await process.metric("rtserver_loop_longest_stall_seconds")
            assert longest_s >= HELD_S - 0.06, process.role
