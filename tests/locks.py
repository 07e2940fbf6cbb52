"""Whether somebody waits for a lock, in this database: in others of the cluster other tests run, and wait, too."""

__all__ = ["SOMEBODY_WAITS"]

# By the locks that a session has, of which some are of a database (what it waits for may be a transaction's, of none);
# and not by pg_stat_activity, of which a transaction sees what it saw first.
SOMEBODY_WAITS = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE NOT granted
      AND pid IN (SELECT pid FROM pg_locks JOIN pg_database ON oid = database WHERE datname = current_database())
)
"""
