"""All SQL of the gateway: one function a statement. It reads no event and changes none."""
