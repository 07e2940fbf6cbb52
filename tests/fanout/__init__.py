"""The delivery room's parts, without processes."""
