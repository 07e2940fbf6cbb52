"""How the announcer is set, and who was announced.

One row's lock is what all take turns by: who announces passes over it when another is at it (SKIP LOCKED; that one
looks again before it rests), who changes something waits for it. Under it run, positions and announcements change
together, so that ids are 1, 2, 3 and so on, each read is looked at once, and it does not matter by which process.
"""
