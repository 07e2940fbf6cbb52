"""The metrics of a writer."""

from shared.metrics import counter, gauge, histogram

__all__ = [
    "COMMIT_SECONDS",
    "CONFLICTING",
    "DEAD_LETTERED",
    "DRAIN_SECONDS",
    "INBOX_AGE",
    "INBOX_BYTES",
    "INBOX_EMPTIED",
    "INBOX_PARTS",
    "RETRANSMITTED",
    "STORED",
]

STORED = counter("events_stored", "events committed to the events table")
RETRANSMITTED = counter("events_retransmitted", "events that were stored already")
CONFLICTING = counter("events_conflicting", "events under an identity that another line has")
DEAD_LETTERED = counter("parts_dead_lettered", "parts put aside because they could not be written")
DRAIN_SECONDS = histogram("drain_seconds", "one drain, from its first lock to its commit")
COMMIT_SECONDS = histogram("commit_seconds", "the commit of a drain: disk, and standbys that must have it")
INBOX_PARTS = gauge("inbox_parts", "parts that wait in the inbox")
INBOX_AGE = gauge("inbox_age_seconds", "age of the oldest part in the inbox")
INBOX_BYTES = gauge("inbox_bytes", "size of the inbox on disk, dead rows included")
INBOX_EMPTIED = counter("inbox_emptied", "times that dead rows were given back by a truncate")
