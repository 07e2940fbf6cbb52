"""The local stack: embedded Postgres, the role processes and the reverse proxy, started by one command."""

from shared.errors import RtServerError


class StackError(RtServerError):
    """What keeps the stack from running, in words for the person who started it."""
