"""Mats that are silent while runners are due, and twins of which one sees less: what is expected at each point."""
