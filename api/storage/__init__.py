"""The database, its disk and what waits in it, as alerts and the first page say it."""
