"""How far behind receivers were over time, for a plot."""
