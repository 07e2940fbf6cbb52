"""The metrics of a gateway."""

from shared.metrics import counter, gauge, histogram

__all__ = [
    "ACKED",
    "ACK_SECONDS",
    "COMMANDS",
    "CONFLICTS",
    "EVENTS_IN",
    "NEWS_IGNORED",
    "STAGED_AGAIN",
    "UNACKED_BYTES",
]

EVENTS_IN = counter("events_in", "events received from forwarders")
ACKED = counter("events_acked_to_forwarders", "events whose batch was acked")
ACK_SECONDS = histogram("ack_seconds", "from a batch's arrival to its ack")
COMMANDS = counter("commands", "operators' commands that have ended", "kind", "ending")
CONFLICTS = counter("conflicting_batches", "batches with events under a taken identity")
NEWS_IGNORED = counter(
    "device_messages_ignored",
    "messages about a reader or a battery that are not right, or of an unknown reader",
    "kind",
)
STAGED_AGAIN = counter("parts_staged_again", "parts staged anew after a lost connection or an emptied inbox")
UNACKED_BYTES = gauge("unacked_bytes", "batches held until they are acked, bytes as received")
