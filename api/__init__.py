"""The operators' service: HTTP, exports and health of the whole."""
