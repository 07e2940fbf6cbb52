"""Readers' clocks: how far off each is, which way it drifts, and what time it really was when a read was made."""
