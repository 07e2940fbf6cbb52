"""What the metrics of this process say, as Prometheus would be told."""

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

__all__ = ["series", "total"]

# What a number of a type is called where it is shown.
_ENDINGS = {"counter": ("_total",), "histogram": ("", "_bucket", "_count", "_sum")}


def series() -> set[str]:
    """Return the names of all that is shown, or will be when there is something to say."""
    return {
        family.name + ending for family in REGISTRY.collect() for ending in _ENDINGS.get(family.type, ("",))
    }


def total(metric: MetricWrapperBase) -> float:
    """Return the value of a counter."""
    return sum(
        sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )
