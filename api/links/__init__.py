"""Links that show one person's timeline to whoever has them, until they expire: for a medic or a speaker."""
