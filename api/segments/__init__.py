"""Segments of races: which of a stream's reads are of a race, with boundaries that a person can move, and move back."""
