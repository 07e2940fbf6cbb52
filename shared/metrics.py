"""The metrics that every service shows at /metrics, whatever it does; each service has its own beside its code.

All names start with `rtserver_`; ARCHITECTURE.md lists them with their meaning.
"""

from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "BRAKED_UPGRADES",
    "CONNECTIONS",
    "DECLARED",
    "HELD_BYTES",
    "LATENCY_BUCKETS_S",
    "NOTIFICATIONS_COALESCED",
    "NOTIFICATIONS_RECEIVED",
    "NOTIFICATIONS_SENT",
    "NOTIFY_QUEUE",
    "POLLS_FOUND_WORK",
    "RECONNECTS",
    "REFUSED_UPGRADES",
    "UNKNOWN_MESSAGES",
    "Declared",
    "counter",
    "gauge",
    "histogram",
]

# From a loopback's commit to a device that gives up.
LATENCY_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 5, 10, 30)


class Declared(NamedTuple):
    """A number as it is declared: rtserver_notifications_sent_total, counter, what it says, ("channel",)."""

    name: str
    type: str
    text: str
    labels: tuple[str, ...] = ()


# All numbers of this process, of which not all have something to say yet.
DECLARED: list[Declared] = []


def counter(name: str, text: str, *labels: str) -> Counter:
    """Declare a counter `rtserver_<name>_total`."""
    DECLARED.append(Declared(f"rtserver_{name}_total", "counter", text, labels))
    return Counter(f"rtserver_{name}", text, labels)


def gauge(name: str, text: str, *labels: str) -> Gauge:
    """Declare a gauge `rtserver_<name>`."""
    DECLARED.append(Declared(f"rtserver_{name}", "gauge", text, labels))
    return Gauge(f"rtserver_{name}", text, labels)


def histogram(name: str, text: str) -> Histogram:
    """Declare a histogram `rtserver_<name>` of seconds, in LATENCY_BUCKETS_S."""
    DECLARED.append(Declared(f"rtserver_{name}", "histogram", text))
    return Histogram(f"rtserver_{name}", text, buckets=LATENCY_BUCKETS_S)


NOTIFICATIONS_SENT = counter("notifications_sent", "NOTIFYs sent", "channel")
NOTIFICATIONS_COALESCED = counter(
    "notifications_coalesced", "notifications that became part of one that was waiting already", "channel"
)
NOTIFICATIONS_RECEIVED = counter("notifications_received", "NOTIFYs received", "channel")
NOTIFY_QUEUE = gauge("notify_queue_ratio", "share of the server's notification queue in use (0..1)")
RECONNECTS = counter(
    "database_reconnects", "connections to the database that were opened again", "connection"
)
CONNECTIONS = gauge("connections", "device sockets open")
HELD_BYTES = gauge("held_bytes", "what devices make the process hold, bytes as they send them")
REFUSED_UPGRADES = counter("refused_upgrades", "connections of devices answered 503")
BRAKED_UPGRADES = counter("braked_upgrades", "connections of single devices answered 429")
UNKNOWN_MESSAGES = counter("unknown_messages", "messages of a kind that we do not know, ignored")
POLLS_FOUND_WORK = counter(
    "polls_found_work",
    "polls that found what a notification should have announced; near zero is right",
    "channel",
)
