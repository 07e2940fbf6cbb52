"""The devices, the demo and the stack."""
