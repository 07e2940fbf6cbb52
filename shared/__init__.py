"""The hallway: what at least two rooms use. Knows no room."""
