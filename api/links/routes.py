"""How operators make links to one person's timeline and withdraw them, and what everybody sees who has one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from api.http.context import Api
from api.http.errors import ApiError
from api.links import store, token
from api.links.token import Claim
from api.links.types import LinkedTimeline, NewLink, ShownLink, TimelineLink
from api.search.routes import require_person, show_chip_timeline, show_timeline
from api.search.types import ChipPath, PersonPath, Timeline, TimelineQuery

__all__ = [
    "LONGEST_BODY",
    "LOOKING_AT_ONCE",
    "Onlookers",
    "make_chip_link",
    "make_person_link",
    "show_linked_timeline",
    "withdraw_links",
]

# Anybody may send it.
LONGEST_BODY = 4096
# A link may be sent on to many: whoever has it takes no more of the database than two operators would.
TURNS, LOOKING_AT_ONCE = 2, 64


class Onlookers:
    """Those who look by links: a few at a time, the others wait for them, and beyond a bound nobody does."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(TURNS)
        self._looking = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn; UNAVAILABLE where too many do."""
        if self._looking >= LOOKING_AT_ONCE:
            raise ApiError("UNAVAILABLE", "too many look by links at this moment; try again in a few seconds")
        self._looking += 1
        try:
            async with self._turns:
                yield
        finally:
            self._looking -= 1


async def make_person_link(api: Api, *, path: PersonPath, body: NewLink) -> TimelineLink:
    """Make a link that shows the timeline of a person of a race to whoever has it, for some hours."""
    who = await require_person(api, path)
    return await _make(api, path, body.hours, race=who.race, race_id=path.race_id, bib=path.bib)


async def make_chip_link(api: Api, *, path: ChipPath, body: NewLink) -> TimelineLink:
    """Make a link that shows the timeline of a chip to whoever has it, for some hours."""
    chip = ChipPath(chip_id=path.chip_id.lower())
    return await _make(api, chip, body.hours, chip_id=chip.chip_id)


async def _make(api: Api, subject: PersonPath | ChipPath, hours: int, **said: object) -> TimelineLink:
    # Noted in a transaction of its own: no link is in the world of which the log does not know.
    async with api.changing() as (connection, note):
        sealing = await store.sealing(connection)
        expires_at = sealing.now.replace(microsecond=0) + timedelta(hours=hours)
        await note("timeline_link_made", **said, until=expires_at.isoformat())
    link = token.sealed(Claim(subject, expires_at), sealing.secret)
    return TimelineLink(path=f"person#{link}", expires_at=expires_at)


async def withdraw_links(api: Api) -> None:
    """Make all links to timelines invalid, at once, whoever has them."""
    async with api.changing() as (connection, note):
        await store.replace(connection)
        await note("timeline_links_withdrawn")


async def show_linked_timeline(api: Api, *, body: ShownLink) -> LinkedTimeline:
    """Show what was read of the one person, or chip, that a link is of."""
    async with api.part(Onlookers).turn():
        sealing = await store.sealing(api.pool)
        claim = token.opened(body.link, sealing.secret)
        if claim is None:
            raise ApiError("NOT_FOUND", "this link is not valid, or was withdrawn; ask for another")
        if claim.expires_at <= sealing.now:
            at = claim.expires_at.isoformat()
            raise ApiError(
                "NOT_FOUND", f"this link has expired at {at}; ask for another", details={"expired_at": at}
            )
        shown = await _shown(api, claim.subject)
    return LinkedTimeline(
        **{name: getattr(shown, name) for name in Timeline.__struct_fields__}, expires_at=claim.expires_at
    )


async def _shown(api: Api, subject: PersonPath | ChipPath) -> Timeline:
    if isinstance(subject, PersonPath):
        return await show_timeline(api, path=subject, query=TimelineQuery())
    return await show_chip_timeline(api, path=subject, query=TimelineQuery())
