"""All SQL of the room, a module for each subject: one function a statement."""
