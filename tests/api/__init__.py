"""Tests of the operators' service, through HTTP, on a real database."""
