"""The `rt-server` command."""
