"""Certificates over HTTP: of a race, or of epochs of streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from api.certificate.judging import Judged
from api.certificate.ledger import Making, Unfinished, entry
from api.certificate.signing import ALGORITHM, key_name, public_half, text
from api.certificate.store import facts as known
from api.certificate.store import keys
from api.certificate.store import parts as store
from api.certificate.types import (
    Certificate,
    CertificateKey,
    CertificateKeys,
    CertificateQuery,
    CertifiedRace,
)
from api.certificate.writing import Asked, signed, written
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from shared.db.connections import Transaction

__all__ = ["ANSWER_WITHIN_S", "Certifying", "show_certificate", "show_certificate_keys"]

# Each has its line on paper, and its receivers.
MOST_PARTS = 500
MOST_STREAMS = 50
# For digests; what else there is takes a second or two, and a proxy in front waits for a minute.
MAKE_WITHIN_S = 20.0
ANSWER_WITHIN_S = 40.0
TURN_WITHIN_S = 10.0


class Certifying:
    """Who makes certificates: one at a time of a process, since each goes through all that it is of."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn; UNAVAILABLE where that takes too long."""
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await self._making.acquire()
        except TimeoutError:
            raise ApiError(
                "UNAVAILABLE", "another certificate is being made; ask again in a moment"
            ) from None
        try:
            yield
        finally:
            self._making.release()


async def show_certificate(api: Api, *, query: CertificateQuery) -> Certificate:
    """Certify what is stored of a race, or of epochs of streams, as it is at this moment."""
    making = Making(MAKE_WITHIN_S)
    async with api.part(Certifying).turn():
        try:
            # One moment for all of it: counts, events, cursors and what was deleted.
            async with store.snapshot(api.pool) as connection:
                return await _certified(connection, await _asked(connection, query), making)
        except Unfinished:
            details = {"blocks_ready": making.ready, "blocks": making.blocks}
            text = f"digests of {making.ready:,} of {making.blocks:,} blocks are made; ask again for the rest"
            raise ApiError("UNAVAILABLE", text, details=details) from None
        finally:
            # Behind the transaction: what it has seen must not keep anybody's row.
            await making.keep(api.pool)


async def _asked(connection: Transaction, query: CertificateQuery) -> Asked:
    if (query.race_id is None) == (query.stream_id is None):
        raise ApiError("BAD_REQUEST", "query: give `race_id`, or `stream_id` and perhaps `epoch`")
    asked = await (_of_streams(connection, query) if query.race_id is None else _of_race(connection, query))
    if len(asked.parts) > MOST_PARTS:
        raise ApiError("BAD_REQUEST", f"more than {MOST_PARTS} parts of epochs; ask for fewer at a time")
    return asked


async def _of_race(connection: Transaction, query: CertificateQuery) -> Asked:
    if query.race_id is None or query.epoch is not None:
        raise ApiError("BAD_REQUEST", "query: `epoch` goes with `stream_id`, not with `race_id`")
    race = await store.race(connection, query.race_id)
    if race is None:
        raise ApiError("NOT_FOUND", "there is no race of this id")
    parts = await store.parts_of_race(connection, query.race_id, most=MOST_PARTS + 1)
    points = await store.points_of_race(connection, query.race_id)
    return Asked(CertifiedRace(race_id=race.race_id, name=race.name), parts, points)


async def _of_streams(connection: Transaction, query: CertificateQuery) -> Asked:
    stream_ids = _streams(query.stream_id or "")
    epochs = None if query.epoch is None else _epochs(query.epoch)
    if await store.known_streams(connection, stream_ids) < set(stream_ids):
        raise no_stream()
    parts = await store.parts_of_streams(connection, stream_ids, epochs, most=MOST_PARTS + 1)
    return Asked(None, parts, [])


def _streams(text: str) -> list[UUID]:
    try:
        found = list(dict.fromkeys(UUID(each.strip()) for each in text.split(",")))
    except ValueError as error:
        raise ApiError(
            "BAD_REQUEST", "query: `stream_id`: ids of streams, with commas between them"
        ) from error
    if len(found) > MOST_STREAMS:
        raise ApiError("BAD_REQUEST", f"query: `stream_id`: up to {MOST_STREAMS} streams")
    return found


def _epochs(text: str) -> list[int]:
    found = [int(each) for each in text.split(",")]
    if not all(1 <= each < 2**31 for each in found):
        raise ApiError(
            "BAD_REQUEST", "query: `epoch`: numbers from 1 to 2147483647, with commas between them"
        )
    return found


async def _certified(connection: Transaction, asked: Asked, making: Making) -> Certificate:
    facts = await known.facts(connection, asked.parts)
    entries = [
        await entry(connection, part, about, making) for part, about in zip(asked.parts, facts, strict=True)
    ]
    streams = list({each.stream_id for each in asked.parts})
    counted = {
        (part.stream_id, part.stream_epoch): found.read_count
        for part, found in zip(asked.parts, entries, strict=True)
        if part.is_whole
    }
    sums = await known.sums(connection, streams, counted)
    judged = [
        Judged(part, about, found, sums[part.stream_id].events.get(part.stream_epoch, 0))
        for part, about, found in zip(asked.parts, facts, entries, strict=True)
    ]
    unsigned = written(asked, judged, sums, issued_at=await known.now(connection))
    return signed(unsigned, await keys.signing_key(connection))


async def show_certificate_keys(api: Api) -> CertificateKeys:
    """Show the public halves of the keys that certificates are signed with, and were."""
    found = [(each, each.public_key or public_half(each.secret or b"")) for each in await keys.keys(api.pool)]
    return CertificateKeys(
        algorithm=ALGORITHM,
        keys=[
            CertificateKey(
                key=key_name(public_key),
                public_key=text(public_key),
                made_at=key.made_at,
                retired_at=key.retired_at,
            )
            for key, public_key in found
        ],
    )
