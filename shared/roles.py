"""The roles that a process can have: each is a service, a database user and a command of `rt-server`."""

from typing import Literal, TypeAlias, get_args

__all__ = ["ROLES", "Role"]

Role: TypeAlias = Literal["gateway", "writer", "fanout", "api"]
# On the way that reads take; the api beside it.
ROLES: tuple[str, ...] = get_args(Role)
