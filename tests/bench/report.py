"""What measurements share: rounds taken in turns, medians, and one line for each."""

import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["cpu_seconds", "percentile", "resident_bytes", "say", "summary"]


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def summary(name: str, values: Sequence[float], unit: str) -> str:
    """Return the median of the rounds, with the lowest and the highest beside it."""
    middle = statistics.median(values)
    return (
        f"{name:<34} {middle:>12,.3f} {unit:<16} ({min(values):,.3f} .. {max(values):,.3f}, n={len(values)})"
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int, what: str = "VmRSS") -> int:
    """Return the memory that a process has in use (VmRSS) or has had at the most (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
