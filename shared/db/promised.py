"""The settings of a server that our promises rest on, and that a connection cannot always set for itself. A process
starts without them and says so: one that does not start keeps no promise at all.
"""

from shared.db.facts import POOLED, Facts, Finding, unless

__all__ = ["judge_promised"]

# Told at the start of a connection and not set again after it: a pooler that leaves it out does so for good.
_UNSET = (
    "Something between leaves ours out: ALTER ROLE {user} (or ALTER DATABASE {database}) RESET {setting}; where the "
    "server itself has it, ALTER ROLE {user} SET {setting} = 0"
)
# What it must be, and what becomes of it otherwise, with what to do.
_WANTED = {
    "fsync": (("on",), "a crash loses what was acked. Turn it on and restart Postgres"),
    "full_page_writes": (("on",), "a power loss can tear stored pages. Turn it on"),
    "synchronous_commit": (
        ("on", "remote_apply"),
        f"acks go out before reads are safe (off), or on the standby (local, remote_write). It {POOLED}",
    ),
    "transaction_timeout": (("0",), f"ends exports and whatever else takes its time. It {POOLED}"),
    "statement_timeout": (("0",), f"ends exports, and migrations half way. {_UNSET}"),
    "idle_session_timeout": (
        ("0",),
        f"ends connections that listen or hold a lock, again and again. {_UNSET}",
    ),
    "idle_in_transaction_session_timeout": (("0",), f"ends exports that are taken slowly. {_UNSET}"),
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
        Finding(
            name, getattr(facts, name), unless(getattr(facts, name) in well, _addressed(advice, name, facts))
        )
        for name, (well, advice) in _WANTED.items()
    ]


def _addressed(advice: str, setting: str, facts: Facts) -> str:
    """Return an advice about the very user and database that were looked at."""
    return advice.format(setting=setting, user=facts.database_user, database=facts.database)
