"""A rehearsal: what was read once comes again, through the real pipeline, while things break; and what came of it."""
