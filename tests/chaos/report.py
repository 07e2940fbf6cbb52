"""What a run came to: a calm table for people, a JSON for programs."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

__all__ = ["Outcome", "Struck", "write_json"]

RESULTS = Path(".bench") / "chaos.json"


@dataclass(frozen=True)
class Struck:
    """One strike: its kind, when it began, and how long after its end the last device flowed again."""

    kind: str
    what: str
    at_s: float
    recovered_s: float


@dataclass
class Outcome:
    """A run's numbers; `violations` says in words what did not hold."""

    seed: int
    minutes: float
    struck: list[Struck] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    events: int = 0
    acked: int = 0
    delivered: int = 0
    retransmits: int = 0
    conflicts: int = 0
    forgotten: int = 0
    reconnects: int = 0
    checkpoints: int = 0
    peaks_mib: Mapping[str, float] = field(default_factory=dict)
    stalls_s: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    in_vain: Mapping[str, int] = field(default_factory=dict)

    @property
    def replay(self) -> str:
        """The command that runs the same faults again."""
        return f"make chaos SEED={self.seed} MINUTES={self.minutes:g}"

    def by_kind(self) -> list[tuple[str, int, float, float]]:
        """Return (kind, how many, median, worst) of the seconds to recover, in the order of kinds."""
        kinds: dict[str, list[float]] = {}
        for each in self.struck:
            kinds.setdefault(each.kind, []).append(each.recovered_s)
        return [
            (kind, len(all_s), statistics.median(all_s), max(all_s)) for kind, all_s in sorted(kinds.items())
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, and the table's rows."""
        rows = [
            {"kind": kind, "count": count, "median_s": round(median_s, 3), "worst_s": round(worst_s, 3)}
            for kind, count, median_s, worst_s in self.by_kind()
        ]
        return asdict(self) | {"faults": rows, "replay": self.replay}

    def __rich__(self) -> Group:
        drawn = Table("fault", box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name in ("times", "median s", "worst s"):
            drawn.add_column(name, justify="right", no_wrap=True)
        for kind, count, median_s, worst_s in self.by_kind():
            drawn.add_row(kind, str(count), f"{median_s:.2f}", f"{worst_s:.2f}")
        numbers = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
        for name, value in self._numbers():
            numbers.add_row(name, value)
        verdict = [Text(words, style="red") for words in self.violations] or [
            Text("no violations", style="green")
        ]
        again = [Text(f"\n{self.replay}")] if self.violations else []
        return Group(Text(), drawn, Text(), numbers, Text(), *verdict, *again)

    def _numbers(self) -> list[tuple[str, str]]:
        return [
            ("strikes", f"{len(self.struck):,}"),
            ("events stored", f"{self.events:,}"),
            ("acked to forwarders", f"{self.acked:,}"),
            ("delivered to receivers", f"{self.delivered:,}"),
            ("retransmits, conflicts", f"{self.retransmits:,}, {self.conflicts:,}"),
            ("lost with a journal, unacked", f"{self.forgotten:,}"),
            ("reconnects", f"{self.reconnects:,}"),
            ("checkpoints", f"{self.checkpoints:,}"),
            ("most memory, MiB", ", ".join(f"{role} {peak:.0f}" for role, peak in self.peaks_mib.items())),
            (
                "longest stall of its own, ms",
                ", ".join(f"{role} {1000 * stall_s:.0f}" for role, stall_s in self.stalls_s.items()),
            ),
            (
                "operators were told",
                ", ".join(f"{what}: {n}" for what, n in sorted(self.answers.items())) or "nothing",
            ),
            (
                "faults that did not come about",
                ", ".join(f"{kind}: {times}" for kind, times in sorted(self.in_vain.items())) or "none",
            ),
            ("violations", f"{len(self.violations)}"),
        ]


def write_json(outcome: Outcome, path: Path = RESULTS) -> None:
    """Write the outcome where benchmarks put theirs."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps(outcome.as_json(), option=orjson.OPT_INDENT_2))


def console() -> Console:
    """Where all of it is said."""
    return Console(soft_wrap=True, highlight=False)
