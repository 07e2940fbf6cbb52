"""Tests, mirroring the services; see CONTRIBUTING.md."""
