"""The first page as it stands, and the event stream that keeps it up to date."""
