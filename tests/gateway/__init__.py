"""The gateway's own behaviour, mostly with a gateway and a writer inside the test's process."""
