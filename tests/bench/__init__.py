"""Measurements, each a program: `python -m tests.bench.delivery_fanout`. pytest collects none of them."""
