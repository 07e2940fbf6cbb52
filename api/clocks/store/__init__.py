"""All SQL of readers' clocks."""
