"""Tests, mirroring the rooms; see CONTRIBUTING.md."""
