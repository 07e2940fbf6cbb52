"""Addresses: free ports on this machine for the parts of a stack, what HOST:PORT means, and where a server can be."""

import errno
import itertools
import socket
from random import SystemRandom
from urllib.parse import urlsplit

from deploy.local import StackError

LOOPBACK = "127.0.0.1"
_HIGHEST_PORT = 65_535

# Below the ports that Linux gives to outgoing connections: while a server is down, its port is nobody's, and a
# client that tries it again and again cannot be given that very port and so connect to itself.
_PORTS = range(15_000, 30_000)
# No port twice by one process, and hardly one that another process tries at the same moment.
_candidates = itertools.cycle(SystemRandom().sample(_PORTS, len(_PORTS)))


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    for port in itertools.islice(_candidates, 100):
        if is_free(LOOPBACK, port):
            return port
    raise StackError(f"no free port found on {LOOPBACK}")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now; StackError when `host` is no address of this machine."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        raise StackError(f"not allowed to listen on port {port}") from None
    except socket.gaierror as error:
        raise StackError(f"cannot listen on {host}: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise StackError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return True


def parse_bind(bind: str) -> tuple[str, int]:
    """Split "HOST:PORT" ("[::1]:8080" too, port 0: a free one); StackError when it is not that."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > _HIGHEST_PORT:
        raise StackError(f"the address to bind must be HOST:PORT, not {bind!r}")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 (as ":8080" says)


def is_base_url(url: str) -> bool:
    """Whether a server can be at this address: http or https, a host, and perhaps a port and a path."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False
