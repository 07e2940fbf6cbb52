"""Whole streams, and all of them, on their way to a client in bounded memory."""
