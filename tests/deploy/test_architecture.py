"""ARCHITECTURE.md lists every number that a process shows, as the process calls it."""

from pathlib import Path

import tests.deploy.every_service  # noqa: F401 (and with it all metrics)
from shared.metrics import DECLARED
from tests.metrics import series

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def metrics_table() -> str:
    """Return the table as the code has it."""
    lines = ["| name | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    rows = [
        f"| `{name}` | {kind} | {_unit(name)} | {', '.join(labels)} | {text} |"
        for name, kind, text, labels in DECLARED
        if name in series()  # and not of a test
    ]
    return "\n".join([*lines, *sorted(rows)])


def _unit(name: str) -> str:
    """Return what a number counts or is measured in: the first plural of its name."""
    words = name.removeprefix("rtserver_").removesuffix("_total").split("_")
    plural = next((word for word in words if word.endswith("s")), None)
    return plural or ("0..1" if words[-1] == "ratio" else "times")


def test_every_metric_stands_in_the_table() -> None:
    for name in ("ack_seconds", "commit_seconds", "tails", "alerts_quiet"):
        assert f"| `rtserver_{name}` |" in metrics_table()
    assert metrics_table() in ARCHITECTURE.read_text(), f"ARCHITECTURE.md should hold:\n{metrics_table()}"
