"""Batteries of forwarders."""
