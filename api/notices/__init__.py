"""Alerts that reach a person: what is told of those that turn red and are over, to whom, and what became of it."""
