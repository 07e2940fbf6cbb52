"""What receivers of the second generation are told of their streams beside the reads: numbers, readers, batteries."""
