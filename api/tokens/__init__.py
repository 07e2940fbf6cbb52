"""Tokens of devices."""
