"""The only room that writes events: drains the inbox, deduplicates, commits, rings."""
