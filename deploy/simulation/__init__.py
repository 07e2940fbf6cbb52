"""A race without runners: simulated devices, and the demo that lets them loose on a server."""
