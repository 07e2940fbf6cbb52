"""A reader's memory against what is stored of its stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from uuid import UUID

from api.http.context import Api
from api.http.contract import Upload
from api.http.errors import ApiError, no_stream
from api.reconcile import store
from api.reconcile.comparison import Comparison, Counts, FileRefused, Minute
from api.reconcile.reconciling import Ours, compare, compare_and_store
from api.reconcile.types import Left, Missed, OfMinute, Reconciled, ReconcileQuery
from api.streams.types import StreamPath
from shared.db.errors import DatabaseUnavailable
from shared.protocol.memory import LONGEST_READER, is_memory

__all__ = ["MOST_BYTES", "Comparing", "reconcile"]

MOST_BYTES = 20 * 1024 * 1024
# What is gone through is pages of the stream: ten million reads are half a minute.
WITHIN_S = 120.0
MINUTES_SHOWN = 3_000
LINES_SHOWN = 1_000
WAITS_S = 10.0


class Comparing:
    """Which file this process compares: one at a time, for it takes some 150 MB at its largest. Nobody else waits for
    it: it may take as long as its file takes to come and a comparison to end, and who has a roster has a race to begin.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Be the one who compares; ApiError when no turn comes in time."""
        try:
            async with asyncio.timeout(WAITS_S):
                await self._turn.acquire()
        except TimeoutError:
            raise ApiError(
                "UNAVAILABLE", "another reader's memory is being compared; try again later"
            ) from None
        try:
            yield
        finally:
            self._turn.release()


async def reconcile(api: Api, *, path: StreamPath, query: ReconcileQuery, upload: Upload) -> Reconciled:
    """Compare a reader's memory or log file, the first field of a form, with what we have of its stream; with store
    keep what only the file has, as a stream of its own beside it.
    """
    upload.must_be_form()
    # Before the file has come: what cannot be is said at once.
    reader = await _reader(api, path.stream_id)
    async with api.part(Comparing).turn():
        comparison = await _comparison(upload)
        ours = Ours(path.stream_id, reader, comparison)
        try:
            async with asyncio.timeout(WITHIN_S):
                left = await _gone_through(api, ours, keep=query.store == "true")
        except TimeoutError as error:
            raise DatabaseUnavailable("no answer in time") from error
        return await asyncio.to_thread(_answer, ours, left)


async def _reader(api: Api, stream_id: UUID) -> store.Reader:
    reader = await store.find(api.pool, stream_id)
    if reader is None:
        raise no_stream()
    if is_memory(reader.reader_ip):
        raise ApiError(
            "CONFLICT", "this is what a reader's memory had: compare the file with the reader's own stream"
        )
    if len(reader.reader_ip) > LONGEST_READER:
        raise ApiError(
            "CONFLICT", f"the reader's name has more than {LONGEST_READER} characters: its memory has none"
        )
    return reader


async def _comparison(upload: Upload) -> Comparison:
    content = await upload.first_field(at_most=MOST_BYTES)
    try:
        return await asyncio.to_thread(Comparison, content)
    except FileRefused as error:
        raise ApiError("BAD_REQUEST", str(error)) from error


async def _gone_through(api: Api, ours: Ours, *, keep: bool) -> Left | None:
    if keep:
        return await compare_and_store(api, ours)
    await compare(api, ours)
    return None


def _answer(ours: Ours, left: Left | None) -> Reconciled:
    comparison = ours.comparison
    total = comparison.total
    minutes = _shown(comparison.minutes())
    return Reconciled(
        in_file=total.file,
        with_us=total.ours,
        with_us_of_memory=ours.of_memory,
        waiting=ours.waiting,
        in_both=total.both,
        only_in_file=total.file - total.both,
        only_with_us=total.ours - total.both,
        without_time=comparison.without_time,
        passed_over=comparison.passed_over,
        minutes=[_of_minute(minute, counts) for minute, counts in minutes],
        minutes_left_out=comparison.minute_count - len(minutes),
        missed=[
            Missed(
                line=each.line.decode("ascii", "backslashreplace"), copies=each.copies, read_at=each.read_at
            )
            for each in islice(comparison.surplus(), LINES_SHOWN)
        ],
        left=left,
    )


def _shown(minutes: list[tuple[Minute, Counts]]) -> list[tuple[Minute, Counts]]:
    """Return the minutes that are shown: all; where they are too many, the first that differ."""
    if len(minutes) <= MINUTES_SHOWN:
        return minutes
    return [each for each in minutes if not each[1].file == each[1].ours == each[1].both][:MINUTES_SHOWN]


def _of_minute(minute: Minute, counts: Counts) -> OfMinute:
    return OfMinute(
        minute=minute,
        in_file=counts.file,
        with_us=counts.ours,
        only_in_file=counts.file - counts.both,
        only_with_us=counts.ours - counts.both,
    )
