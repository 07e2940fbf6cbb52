"""How Postgres plans what the api reads, whatever its statistics say, and how long that waits for a lock."""

__all__ = ["ALONG_THE_KEY", "AT_ONCE", "FORGET"]

# For connections: what is wanted in the order of the key is read in that order, from the first row on, and never
# gathered and sorted, whatever the statistics say.
ALONG_THE_KEY = {"enable_sort": "off", "enable_bitmapscan": "off", "enable_seqscan": "off"}

# For connections that somebody waits for: a table that is locked, as by an ALTER TABLE, is told within seconds, and the
# connection is there for what is not.
AT_ONCE = {"lock_timeout": "3s"}

# Before statements that go through whole tables and join them. A plan is kept until its tables are analyzed: one that
# was made when they were empty goes through all of one table for each row of another, which for 20,000 streams were
# 24 s, each second, in the first minutes of a race. Made anew it knows how large they are by now.
FORGET = "DISCARD PLANS"
