"""The operators' room: HTTP, exports and health of the whole."""
