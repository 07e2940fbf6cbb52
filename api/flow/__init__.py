"""Who came by the points of a race, and when: what its plots are drawn from."""
