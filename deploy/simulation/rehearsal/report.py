"""What came of a rehearsal: was anything lost or doubled, how late did reads come, which alerts came and how late."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles

from rich.console import Group
from rich.table import Table
from rich.text import Text

from deploy.simulation.demo.verdict import Verdict
from deploy.simulation.demo.view import table
from deploy.simulation.rehearsal.heard import Alert, Answered

__all__ = ["Latency", "Report"]

WORDS = {
    "cut": "link cut",
    "twice": "sent again",
    "clock": "clock set wrong",
    "killed": "mat dead",
}
# What lasts longer than this ought to be told (api/alerts/rules/: the slowest is amber after 20 s).
OUGHT_S = 30.0


@dataclass(frozen=True, slots=True)
class Latency:
    """From record to arrival, of all reads of one receiver, those that a fault held up included."""

    receiver_id: str
    latencies_s: Sequence[float]

    def __str__(self) -> str:
        if len(self.latencies_s) < 2:
            return f"{self.receiver_id}: too few reads to tell how late they come"
        half, late = quantiles(self.latencies_s, n=100)[49::49]
        most = f"half within {_s(half)}, 99 % within {_s(late)}, all within {_s(max(self.latencies_s))}"
        return f"{self.receiver_id}: reads came {most}"


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on all that was said, what broke with the alerts that told of it, and other alerts. unsaid: lines of
    mats that were dead.
    """

    verdict: Verdict
    faults: Sequence[Answered]
    others: Sequence[Alert]
    latencies: Sequence[Latency]
    unsaid: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled or altered."""
        return self.verdict.ok

    def __rich__(self) -> Group:
        return Group(
            self.verdict,
            *(Text(str(each)) for each in self.latencies),
            Text(),
            self._struck(),
            *(Text(f"of no fault: {alert.title}: {alert.reason}", style="yellow") for alert in self.others),
            *self._unsaid(),
        )

    def _struck(self) -> Table | Text:
        if not self.faults:
            return Text("nothing was broken (--faults)")
        drawn = table(("what broke", -16), ("for", 7), ("alert", -50))
        for each in self.faults:
            lasts = f"{each.fault.lasts_s:.0f} s" if each.fault.kind != "twice" else ""
            drawn.add_row(WORDS[each.fault.kind], lasts, _alerts(each))
        return drawn

    def _unsaid(self) -> Iterator[Text]:
        if self.unsaid:
            yield Text(f"{self.unsaid} reads were not said at all, by mats that were dead")


def _alerts(answered: Answered) -> Text:
    if answered.alerts:
        first = answered.alerts[0]
        return Text(f"after {_s(first.seen_at - answered.struck_at)}: {first.reason}", overflow="fold")
    if answered.fault.kind == "twice":
        return Text("none is due")
    late = answered.fault.lasts_s > OUGHT_S
    return Text("none came" if late else "none came: it was over soon", style="yellow" if late else "")


def _s(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
