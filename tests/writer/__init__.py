"""The writer's statements and its loop, against a real database."""
