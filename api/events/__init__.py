"""What was read, and what was set aside of it, page by page."""
