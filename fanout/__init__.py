"""The delivery room: replays and tails events to receivers and keeps their cursors."""
