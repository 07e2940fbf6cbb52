"""What the routes do, a module for each of their subjects."""
