"""Tests of the operators room, through HTTP, on a real database."""
