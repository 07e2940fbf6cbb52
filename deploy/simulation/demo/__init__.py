"""The simulated race: a field of runners, the devices that see them, and a verdict on the server they ran for."""
