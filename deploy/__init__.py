"""What puts the services together: the rt-server command, the local stack, the simulated devices."""
