"""What puts the rooms together: the rt-server command, the local stack, the simulated devices."""
