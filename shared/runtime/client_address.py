"""Whom a request comes from. A reverse proxy says it in X-Forwarded-For, and so can anybody: it is believed of this
machine, where ours runs beside its services, and of the networks in TRUSTED_PROXIES.

For people who look for a device or an operator, and for nothing else: nobody is admitted by an address.
"""

import ipaddress
from typing import TypeAlias

from aiohttp import web

__all__ = ["PROXIES", "Network", "address_of", "networks"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PROXIES = web.AppKey("proxies", frozenset[Network])


def networks(text: str) -> frozenset[Network]:
    """Return the networks of TRUSTED_PROXIES; ValueError where one is none."""
    try:
        return frozenset(ipaddress.ip_network(each) for each in text.replace(",", " ").split())
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.7 or 172.16.0.0/12") from None


def address_of(request: web.Request) -> str:
    """Return the address that a request comes from, as who passed it on says it, if that is to be believed."""
    came_by, told = request.remote or "", request.headers.getall("X-Forwarded-For", ())
    trusted: frozenset[Network] = request.app.get(PROXIES, frozenset())
    if not told or not _is_trusted(_address(came_by), trusted):
        return came_by
    # Each proxy puts whom it was asked by at the end: what stands before it is what that one said.
    said = _address(told[-1].rpartition(",")[2].strip())
    return came_by if said is None else str(said)


def _is_trusted(address: _Address | None, trusted: frozenset[Network]) -> bool:
    return address is not None and (address.is_loopback or any(address in each for each in trusted))


def _address(text: str) -> _Address | None:
    """Return an address; one of IPv4 that comes by a socket of IPv6 as what it is."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
