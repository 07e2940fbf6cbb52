"""All SQL of mats."""
