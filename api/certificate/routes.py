"""Certificates over HTTP: of a race, or of epochs of streams."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import UUID

from api.certificate.judging import Judged
from api.certificate.ledger import Making, Unfinished, entry
from api.certificate.signing import ALGORITHM, key_name, public_half, text
from api.certificate.store import facts as known
from api.certificate.store import keys
from api.certificate.store import parts as store
from api.certificate.store.waiting import waiting
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

# How many reads of which stream and epoch are not stored yet.
Waiting: TypeAlias = Mapping[tuple[UUID, int], int]


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
                to_come = await waiting(connection)
                asked = await _asked(connection, query, to_come)
                unsigned = await _unsigned(connection, asked, making, to_come)
            # Behind the moment that is certified: the key that signed then may be retired by now.
            return signed(unsigned, await keys.signing_key(api.pool))
        except Unfinished:
            details = {"blocks_ready": making.ready, "blocks": making.blocks}
            text = f"digests of {making.ready:,} of {making.blocks:,} blocks are made; ask again for the rest"
            raise ApiError("UNAVAILABLE", text, details=details) from None
        finally:
            # Behind the transaction: what it has seen must not keep anybody's row.
            await making.keep(api.pool)


async def _asked(connection: Transaction, query: CertificateQuery, to_come: Waiting) -> Asked:
    if (query.race_id is None) == (query.stream_id is None):
        raise ApiError("BAD_REQUEST", "query: give `race_id`, or `stream_id` and perhaps `epoch`")
    of = _of_streams if query.race_id is None else _of_race
    asked = await of(connection, query, to_come)
    if len(asked.parts) > MOST_PARTS:
        raise ApiError("BAD_REQUEST", f"more than {MOST_PARTS} parts of epochs; ask for fewer at a time")
    return asked


async def _of_race(connection: Transaction, query: CertificateQuery, to_come: Waiting) -> Asked:
    if query.race_id is None or query.epoch is not None:
        raise ApiError("BAD_REQUEST", "query: `epoch` goes with `stream_id`, not with `race_id`")
    race = await store.race(connection, query.race_id)
    if race is None:
        raise ApiError("NOT_FOUND", "there is no race of this id")
    parts = await store.parts_of_race(connection, query.race_id, to_come.keys(), most=MOST_PARTS + 1)
    points = await store.points_of_race(connection, query.race_id)
    placed = [of for each in points if each.closed_by is None for of in each.stream_ids]
    return Asked(
        CertifiedRace(race_id=race.race_id, name=race.name),
        parts,
        points,
        await store.titles(connection, placed),
        await store.others(connection, parts),
    )


async def _of_streams(connection: Transaction, query: CertificateQuery, to_come: Waiting) -> Asked:
    stream_ids = _streams(query.stream_id or "")
    epochs = None if query.epoch is None else _epochs(query.epoch)
    titles = await store.titles(connection, stream_ids)
    if len(titles) < len(stream_ids):
        raise no_stream()
    parts = await store.parts_of_streams(connection, stream_ids, epochs, to_come.keys(), most=MOST_PARTS + 1)
    return Asked(None, parts, [], titles)


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


async def _unsigned(connection: Transaction, asked: Asked, making: Making, to_come: Waiting) -> Certificate:
    issued_at = await known.now(connection)
    facts = await known.facts(connection, asked.parts)
    entries = [
        await entry(connection, part, about, making) for part, about in zip(asked.parts, facts, strict=True)
    ]
    streams = list({*asked.streams, *(each.stream_id for each in asked.parts)})
    counted = {
        (part.stream_id, part.stream_epoch): found.read_count
        for part, found in zip(asked.parts, entries, strict=True)
        if part.is_whole
    }
    sums = await known.sums(connection, streams, counted)
    judged = [
        Judged(
            part,
            about,
            found,
            sums[part.stream_id].events.get(part.stream_epoch, 0),
            to_come.get((part.stream_id, part.stream_epoch), 0),
        )
        for part, about, found in zip(asked.parts, facts, entries, strict=True)
    ]
    return written(asked, judged, sums, issued_at=issued_at)


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
