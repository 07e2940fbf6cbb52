"""The only service that writes events: drains the inbox, deduplicates, commits, notifies."""
