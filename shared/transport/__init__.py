"""The sockets of devices: admitted, bounded, kept alive, closed."""
