"""All SQL of races: the races themselves, their rosters, and what is mapped to them."""
