"""The settings of a server that our promises rest on, and that a connection cannot always set for itself. A process
starts without them and says so: one that does not start keeps no promise at all.
"""

from shared.db.facts import POOLED, Facts, Finding, unless

__all__ = ["judge_promised"]

# What it must be, and what becomes of it otherwise, with what to do.
_WANTED = {
    "fsync": (("on",), "a crash loses what was acked. Turn it on and restart Postgres"),
    "full_page_writes": (("on",), "a power loss can tear stored pages. Turn it on"),
    "synchronous_commit": (
        ("on", "remote_apply"),
        f"acks go out before reads are safe (off), or on the standby (local, remote_write). It {POOLED}",
    ),
    "transaction_timeout": (("0",), f"ends exports and whatever else takes its time. It {POOLED}"),
    "autovacuum": (
        ("on",),
        "tables grow by every change of a row and never shrink, until the disk is full. Turn it on, and reload",
    ),
    "track_counts": (
        ("on",),
        "autovacuum finds nothing to do without it, so tables grow until the disk is full. Turn it on",
    ),
    "track_activities": (
        ("on",),
        "who holds old rows or waits for whom can then be told by nobody, alerts included. Turn it on",
    ),
}


def judge_promised(facts: Facts) -> list[Finding]:
    """Return what there is to say of each."""
    return [
        Finding(name, getattr(facts, name), unless(getattr(facts, name) in well, advice))
        for name, (well, advice) in _WANTED.items()
    ]
