"""Who has an answer already and asks whether it is still the same is told so in a few bytes (304), by its ETag."""

from hashlib import sha256

from aiohttp import ETag, web

__all__ = ["known", "tag_of"]


def tag_of(body: bytes) -> str:
    """Return what tells a body from any other."""
    return sha256(body).hexdigest()[:32]


def known(request: web.Request, tag: str) -> bool:
    """Whether who asks has what this is the tag of; a reverse proxy that compresses calls it weak."""
    return any(each in (ETag(tag), ETag(tag, is_weak=True)) for each in request.if_none_match or ())
