"""The life of a process, the same for every role."""
