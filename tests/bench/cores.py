"""The machine itself: what its cores do at once, beside what one of them does alone.

What is sold as two cores may be two threads of one, which share what they compute with, and a neighbour may use the
other half. Figures that need all cores at once are read beside this one.
"""

import asyncio
import os
import sys

from tests.bench.ground import Ground
from tests.bench.report import Row, row, say

__all__ = ["measure"]

_COUNT = """
import time
until, count = time.perf_counter() + 2, 0
while time.perf_counter() < until:
    sum(range(1_000))
    count += 1
print(count / 2)
"""


async def measure(_ground: Ground, rounds: int) -> list[Row]:
    """Count sums a second, in one process and in one for each core."""
    cores = len(os.sched_getaffinity(0))
    alone, together = [], []
    for number in range(rounds):
        alone.append(cores * await _counted())
        together.append(sum(await asyncio.gather(*(_counted() for _ in range(cores)))))
        say(f"{cores} cores at once, round {number + 1}: {together[-1] / alone[-1]:.2f} of as many alone")
    return [row(f"the machine: {cores} cores at once, of as many alone", together, "sums/s", against=alone)]


async def _counted() -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _COUNT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return float(output)
