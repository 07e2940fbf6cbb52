"""What rt-server raises itself; the errors of its database are in shared/db/errors.py."""

from collections.abc import Sequence

__all__ = ["ConnectionGone", "ProtocolError", "RtServerError", "SettingsError"]


class RtServerError(Exception):
    """Anything that rt-server itself raises; its text is for people and holds no secret."""


class ConnectionGone(Exception):
    """A device's socket is closed: nothing can be sent any more. It is nobody's fault, and so none of ours."""


class SettingsError(RtServerError):
    """The settings are wrong or missing: one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ProtocolError(RtServerError):
    """A device is refused: the error message that it is sent, after which its socket is closed.

    code: one of those in protocol.md, section 7.
    """

    def __init__(self, message: str, *, code: str = "PROTOCOL_ERROR") -> None:
        super().__init__(message)
        self.code = code
