"""Anybody by bib, chip or name, over all races, streams and epochs; and all that was read of one person."""
