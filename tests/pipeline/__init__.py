"""Whole pipelines of real processes."""
