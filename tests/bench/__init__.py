"""Measurements: `make bench`, or `python -m tests.bench` with the names of some. pytest collects none of them."""
