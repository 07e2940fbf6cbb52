"""Simulated devices that behave as the ones in the field do: for the demo, the tests and the benchmarks.

They know the protocol by its document alone and share no type with the server, so that a mistake on one side
shows on the other.
"""
