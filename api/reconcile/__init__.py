"""What a reader's own memory has against what is stored of it."""
