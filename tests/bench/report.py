"""What measurements share: rows of medians and spreads, their table, and what a process has used."""

import os
import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from rich.console import Console
from rich.table import Table

__all__ = [
    "Row",
    "Target",
    "cpu_seconds",
    "percentile",
    "resident_bytes",
    "row",
    "say",
    "show",
    "table",
    "tree_cpu_seconds",
    "write_results",
]

_console = Console(width=None if os.isatty(1) else 130, highlight=False)


@dataclass(frozen=True)
class Target:
    """What a figure should be: its value, or its `ratio` to what it is compared with."""

    kind: Literal["at least", "at most"]
    limit: float
    of: Literal["value", "ratio"] = "value"

    def met_by(self, value: float, ratio: float | None) -> bool:
        """Whether a figure is good enough."""
        found = value if self.of == "value" else ratio
        assert found is not None
        return found >= self.limit if self.kind == "at least" else found <= self.limit

    def __str__(self) -> str:
        return f"{self.of + ' ' if self.of == 'ratio' else ''}{self.kind} {self.limit:,g}"


@dataclass(frozen=True)
class Row:
    """One figure: the median over the rounds, the lowest and the highest; `ratio` is the median of each round's."""

    figure: str
    value: float
    unit: str
    spread: tuple[float, float]
    ratio: float | None = None
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.met_by(self.value, self.ratio)

    def as_json(self) -> dict[str, Any]:
        """The row as results.json has it."""
        target = None if self.target is None else str(self.target)
        return asdict(self) | {"target": target, "met": self.met}


def row(
    figure: str,
    values: Sequence[float],
    unit: str,
    *,
    against: Sequence[float] = (),
    target: Target | None = None,
) -> Row:
    """Make a row of what the rounds gave; `against` is what the same rounds gave for the other thing."""
    ratios = [value / other for value, other in zip(values, against, strict=True)] if against else []
    return Row(
        figure,
        statistics.median(values),
        unit,
        (min(values), max(values)),
        statistics.median(ratios) if ratios else None,
        target,
    )


def say(line: str) -> None:
    """Print a line at once."""
    _console.print(f"[dim]{line}[/dim]")


def table(rows: Iterable[Row]) -> Table:
    """Return the table of all figures."""
    made = Table("figure", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("median", "lowest", "highest", "ratio"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("unit", no_wrap=True)
    made.add_column("target", no_wrap=True)
    made.add_column("", no_wrap=True)
    marks = {True: "[green]met[/green]", False: "[red]MISSED[/red]", None: ""}
    for each in rows:
        made.add_row(
            each.figure,
            _number(each.value),
            *(_number(edge) for edge in each.spread),
            "" if each.ratio is None else f"{each.ratio:.2f}",
            each.unit,
            "" if each.target is None else str(each.target),
            marks[each.met],
        )
    return made


def show(rows: Iterable[Row]) -> None:
    """Print the table."""
    _console.print(table(rows))


def write_results(rows: Iterable[Row], path: Path) -> None:
    """Write the rows as a JSON list."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps([each.as_json() for each in rows], option=orjson.OPT_INDENT_2))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, user and system."""
    return _ticks(pid)[0] / os.sysconf("SC_CLK_TCK")


def tree_cpu_seconds(pid: int) -> float:
    """Return that of a process and of all that it has started, those included that have ended."""
    # The parent before its children: one that ends between the two is counted too low for once, never twice.
    ticks = sum(_ticks(pid))
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(_ticks(int(child)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> tuple[int, int]:
    """Return what a process has used itself, and what the children that it has waited for had used."""
    # After the name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 of proc(5).
    utime, stime, cutime, cstime = map(
        int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    )
    return utime + stime, cutime + cstime


def resident_bytes(pid: int, what: str = "VmRSS") -> int:
    """Return the memory that a process has in use (VmRSS) or has had at the most (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
