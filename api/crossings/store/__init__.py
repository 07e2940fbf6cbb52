"""All SQL of crossings."""
