"""How Postgres plans what the api reads, whatever its statistics say."""

__all__ = ["ALONG_THE_KEY"]

# For connections: what is wanted in the order of the key is read in that order, from the first row on, and never
# gathered and sorted, whatever the statistics say.
ALONG_THE_KEY = {"enable_sort": "off", "enable_bitmapscan": "off", "enable_seqscan": "off"}
