"""The crossings of a race as CSV, made on the way: passings come in order, those of one person at one point together,
and what is kept of them is the crossing that goes on.

How an export is sent, and how it breaks, is the same as in stream.py.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from io import StringIO
from typing import TypeAlias
from uuid import UUID

from aiohttp import web

from api.crossings import shown
from api.crossings.crossing import Crossing, Merging
from api.crossings.people import Found, Passed, Subject
from api.crossings.routes import course_with
from api.crossings.store.passings import Course, all_passed
from api.crossings.types import CrossingFilter
from api.exports import stream as export
from api.exports.places import Places
from api.exports.stream import Client, Outlet
from api.http.context import Api
from api.http.errors import ApiError
from api.passings.waiting import waiting_events
from shared.db.connections import Connection, Statements, connect

__all__ = ["send"]

Names: TypeAlias = tuple[str | None, str | None]

# What a thousand reads a second leave behind in a moment is less: a file in the middle of a race is of that moment.
MOST_WAITING = 5_000
# Whole tables are put in order here, whatever else is read along keys.
CONNECTION = {**export.CONNECTION, "enable_sort": "on", "enable_seqscan": "on"}


async def send(api: Api, request: web.Request, race_id: UUID, wanted: CrossingFilter) -> web.StreamResponse:
    """Answer with the export. ApiError and DatabaseUnavailable are raised before the answer has begun, never after."""
    if request.method == "HEAD":
        course = await course_with(api.pool, race_id, wanted)
        await _refuse_half(api.pool, race_id)
        return web.Response(headers=_headers(course))
    async with api.part(Places).hold(lambda: export.reset(request)) as place:
        connection = await connect(
            api.process.settings.database_url, name="rt-server api export", **CONNECTION
        )
        try:
            # One moment for points and passings.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                course = await course_with(connection, race_id, wanted)
                await _refuse_half(connection, race_id)
                response = web.StreamResponse(headers=_headers(course))
                await response.prepare(request)
                with export.whole_or_reset(request):
                    await _stream(Client(response, place), connection, race_id, course, wanted)
        finally:
            connection.terminate()
    return response


async def _refuse_half(database: Statements, race_id: UUID) -> None:
    """A file is kept and printed, and nobody sees in it that there is more: where much is missing there is none."""
    waiting = await waiting_events(database, race_id)
    if waiting > MOST_WAITING:
        raise ApiError(
            "UNAVAILABLE",
            f"{waiting:,} stored events of the race's streams are not in crossings yet, so people would be missing "
            f"in the file; try again when fewer than {MOST_WAITING:,} wait (waiting_events of the race's crossings)",
        )


async def _stream(
    client: Client, connection: Connection, race_id: UUID, course: Course, wanted: CrossingFilter
) -> None:
    async with export.patience() as limit:
        outlet = Outlet(client, lambda rows: rows, limit)
        await outlet.take(_line(shown.COLUMNS))
        people = _People(course, wanted)
        async for passed, names in all_passed(connection, race_id, wanted.at, wanted.bib):
            for line in people.take(passed, names):
                await outlet.take(line)
        for line in people.end():
            await outlet.take(line)
        await outlet.finish()


class _People:
    """Makes lines of passings that come in the order of the export."""

    def __init__(self, course: Course, wanted: CrossingFilter) -> None:
        self._course = course
        self._wanted = wanted
        self._whose: tuple[str, Subject, Names] | None = None
        self._merging: Merging | None = None

    def take(self, passed: Passed, names: Names) -> Iterator[bytes]:
        """Take the next passing, and yield the lines of crossings that are over by it."""
        if self._whose is None or self._whose[:2] != (passed.at, passed.subject):
            yield from self.end()
            self._whose = passed.at, passed.subject, names
            rule = self._course.points[passed.at].rule
            self._merging = Merging(gap=timedelta(seconds=self._wanted.gap), rule=rule)
        if self._merging is not None:
            yield from self._lines(self._merging.take(passed.passing))

    def end(self) -> Iterator[bytes]:
        """Yield the lines of whoever came last."""
        if self._merging is not None:
            yield from self._lines(self._merging.end())

    def _lines(self, crossings: Iterable[Crossing]) -> Iterator[bytes]:
        if self._whose is None:
            return
        at, subject, names = self._whose
        for each in crossings:
            if self._wanted.tag_id is None or self._wanted.tag_id in each.tags:
                yield _line(shown.csv_row(Found(self._course.points[at], subject, each), *names))


def _line(cells: Sequence[object]) -> bytes:
    file = StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue().encode()


def _headers(course: Course) -> dict[str, str]:
    return {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{export.file_name(course.mark.name, "crossings")}.csv"',
    }
