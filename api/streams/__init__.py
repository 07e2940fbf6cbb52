"""Streams: their names, numbers and epochs."""
