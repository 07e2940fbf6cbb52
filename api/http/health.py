"""What monitors are told."""

from api.http.types import Answer

__all__ = ["Health"]


class Health(Answer):
    """That the process turns, or serves."""

    status: str
