"""The delivery service's parts, without processes."""
