"""Where notices go: the addresses of ALERT_URLS, and what each is called where its address must not be seen. Pure."""

import re
from typing import NamedTuple

__all__ = ["AT_MOST", "Target", "targets"]

AT_MOST = 20
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]{0,31})://\S*", re.IGNORECASE | re.ASCII)


class Target(NamedTuple):
    """One address, which is a secret: it holds a token or a password. name: for people, "tgram 2" of the second."""

    name: str
    url: str


def targets(text: str) -> tuple[Target, ...]:
    """Read addresses that are separated by blanks; ValueError, without any of the text, where one is none."""
    found = []
    for place, url in enumerate(text.split(), start=1):
        address = _ADDRESS.fullmatch(url)
        if address is None:
            raise ValueError(
                "must be addresses as Apprise writes them, like ntfys://ntfy.example/topic, with blanks between them; "
                f"number {place} is none"
            )
        found.append(Target(f"{address[1].lower()} {place}", url))
    if len(found) > AT_MOST:
        raise ValueError(f"must be {AT_MOST} addresses at the most")
    return tuple(found)
