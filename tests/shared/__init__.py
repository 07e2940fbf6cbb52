"""The hallway, part by part."""
