"""Curves of the measurements as SVG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from tests.bench.latency import Delays
from tests.bench.report import percentile
from tests.bench.soak import Sample

__all__ = ["plot_latency", "plot_soak", "plot_throughput"]

_INK, _QUIET = "#1f2933", "#9aa5b1"
_SHADES = {0.5: "#0b7285", 0.9: "#e67700", 0.99: "#c92a2a"}
mpl.rcParams.update(
    {
        "svg.hashsalt": "rt-server",  # the same figures make the same file
        "font.size": 11,
        "axes.edgecolor": _QUIET,
        "axes.labelcolor": _INK,
        "text.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e4e7eb",
    }
)


def plot_throughput(by_batch_size: Mapping[int, float], path: Path) -> None:
    """Draw events per second, acked and delivered, against the size of the batches."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(list(by_batch_size), list(by_batch_size.values()), marker="o", color=_SHADES[0.5])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(
        xlabel="events in a batch",
        ylabel="events a second",
        title="Ingest, acked and delivered: 20 forwarders, stop-and-wait",
    )
    _label_in_full(axes, list(by_batch_size))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def plot_latency(by_load: Mapping[int, Delays], path: Path) -> None:
    """Draw percentiles of the way to the ack and to the receiver against the load."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axes, way, title in zip(
        panels, ("acked", "delivered"), ("send to ack", "send to receiver"), strict=True
    ):
        for share, shade in _SHADES.items():
            curve = [1000 * percentile(getattr(delays, way), share) for delays in by_load.values()]
            axes.plot(list(by_load), curve, marker="o", color=shade, label=f"p{100 * share:.0f}")
        axes.set(xscale="log", yscale="log", xlabel="events a second, 50 readers, open loop", title=title)
        _label_in_full(axes, list(by_load))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[0].set_ylabel("milliseconds")
    panels[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def plot_soak(samples: Sequence[Sample], rate: float, path: Path) -> None:
    """Draw memory, inbox and latency over time."""
    figure, (memory, inbox, latency) = plt.subplots(3, 1, figsize=(9, 8), sharex=True, layout="constrained")
    minutes = [each.at_s / 60 for each in samples]
    for role in samples[0].memory:
        memory.plot(minutes, [each.memory[role] for each in samples], label=role)
    inbox.plot(minutes, [each.inbox for each in samples], color=_SHADES[0.5])
    for name in ("acked_p50", "acked_p99", "delivered_p50", "delivered_p99"):
        latency.plot(minutes, [getattr(each, name) for each in samples], label=name.replace("_", " "))
    memory.set(ylabel="memory, MiB", title=f"{rate:,.0f} events a second, receivers come and go")
    inbox.set(ylabel="inbox, MiB")
    latency.set(ylabel="latency, ms", xlabel="minutes", yscale="log")
    latency.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axes in (memory, inbox):
        axes.set_ylim(bottom=0)
    for axes in (memory, latency):
        axes.legend(frameon=False, ncols=4)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _label_in_full(axes: Axes, ticks: list[int]) -> None:
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
