"""Delivery by real processes, seen from a receiver's socket."""
