"""Ports for processes that are about to start."""

import itertools
import os
import random
import socket

__all__ = ["free_port"]

# Below those that the system gives to outgoing connections, a range for each worker of the tests, and each in its turn:
# a port that is free now is not given to anybody else before the process that it is meant for has bound it.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS_OF_ONE = 1_000
_PORTS = range(10_000 + _WORKER * _PORTS_OF_ONE, 10_000 + (_WORKER + 1) * _PORTS_OF_ONE)
_next_ports = itertools.islice(itertools.cycle(_PORTS), random.randrange(_PORTS_OF_ONE), None)


def free_port() -> int:
    """Return a port of the loopback that nobody uses now, and that was not given away lately."""
    for port in itertools.islice(_next_ports, _PORTS_OF_ONE):
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("all ports are in use")
