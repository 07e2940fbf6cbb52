"""Faults, one file each: the list of files is the list of faults."""
