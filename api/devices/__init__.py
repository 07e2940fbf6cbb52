"""Forwarders, receivers and their cursors, processes."""
