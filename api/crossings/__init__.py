"""When somebody came by a point, and by which read of how many."""
