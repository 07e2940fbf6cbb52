"""Addresses of readers, as they stand in a path: `10.0.0.1:10000`. Pure."""

from ipaddress import IPv4Address

from api.http.errors import ApiError

__all__ = ["address"]

_HIGHEST_PORT = 65_535


def address(text: str) -> str:
    """Return the address of a reader; ApiError for anything else than an IPv4 address and a port, each as it is usually
    written: a device looks for its reader by just this text.
    """
    host, _, port = text.partition(":")
    if _is_host(host) and _is_port(port):
        return text
    raise ApiError(
        "BAD_REQUEST", f"reader_ip: `{text[:60]}` is no IPv4 address with a port, such as 10.0.0.1:10000"
    )


def _is_host(text: str) -> bool:
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    # Digits beyond these are no port, and long ones no number that is worth making.
    plain = text.isascii() and text.isdigit() and len(text) <= len(str(_HIGHEST_PORT))
    return plain and text == str(int(text)) and 1 <= int(text) <= _HIGHEST_PORT
