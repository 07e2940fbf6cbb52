"""The delivery service: replays and tails events to receivers and keeps their cursors."""
