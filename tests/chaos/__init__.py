"""The promise under fire: a whole stack, a seeded sequence of faults, and an oracle. `python -m tests.chaos`."""
