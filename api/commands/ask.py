"""Asks forwarders through their gateways and waits for the answers, holding no connection to the database meanwhile.

An answer is honest: "done" only when the gateway wrote so; nothing was done when the command was never taken, and
cannot be any more, because taking the row away and taking the command exclude each other; in all other cases
nobody knows. What may change a device is in the operators' log before it is asked, with who asks, and again with its
ending: a restart may kill the box before it answers, and this process may die before the answer comes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from api.commands import store
from api.http.context import Api
from api.http.errors import ApiError, Code
from shared.db.channels import ANSWERS, COMMANDS
from shared.db.errors import DatabaseUnavailable
from shared.metrics import POLLS_FOUND_WORK
from shared.protocol.commands import Kind, Request, Why, decode_why
from shared.runtime.process import Process
from shared.wake import Wake

__all__ = ["ANSWER_WITHIN_S", "CommandError", "Commands", "Reply", "noted"]

ANSWER_WITHIN_S = 10.0
# How soon an answer is found whose notification was lost, and where none ever arrives.
POLL_S = 0.5
POLL_WITHOUT_LISTEN_S = 0.1
# Operators are people: what is more than this at once is a mistake.
WAITING_AT_MOST = 64

Ending: TypeAlias = Literal["done", "refused", "not carried out", "nobody knows"]


class CommandError(ApiError):
    """A command was not done, as far as anybody knows. ending: what became of it at the device."""

    def __init__(
        self, code: Code, message: str, *, ending: Ending, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(code, message, details=details)
        self.ending: Ending = ending


@asynccontextmanager
async def noted(api: Api, kind: Kind, **about: object) -> AsyncIterator[dict[str, object]]:
    """Note for operators that a device is asked for something by somebody, and what came of it.

    Around everything from the asking to an answer that can be read; yields the fields of the ending's entry, for what
    only the answer says. Whatever ends it otherwise than a CommandError, nobody knows what the device has done. The
    first entry is written before the device is asked, and where it cannot be it is not: a process that dies with the
    command in hand leaves that entry and no ending, which is all that anybody knows.
    """
    facts = dict(about)
    if not kind.changes:
        yield facts
        return
    # Committed before the device can hear of it: whatever dies from here on, who has asked stands in the log.
    await api.record(f"{kind.name}_asked", **about)
    ending: Ending = "nobody knows"
    try:
        yield facts
        ending = "done"
    except CommandError as error:
        ending = error.ending
        raise
    finally:
        level = "info" if ending == "done" else "warn"
        api.note(f"{kind.name}_ended", level=level, ending=ending, **facts)


class Reply(NamedTuple):
    """What came of a command. answer: JSON, for `done` alone; null where the device need not answer, and has not.
    absent: the forwarder is not connected.
    """

    ending: Literal["done", "absent"]
    answer: bytes = b""


class Commands:
    """The commands that wait for their answers in this process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: dict[UUID, Wake] = {}
        self._under_way = 0
        process.listener.on(ANSWERS, self._on_notification)

    async def ask(
        self,
        forwarder_id: str,
        kind: Kind,
        request: Request,
        *,
        session_since: datetime | None = None,
    ) -> Reply:
        """Ask a forwarder and return what came of it. session_since: only in the session that began just then.

        Raises CommandError: TIMEOUT when nobody knows, UNAVAILABLE when too much is under way; DatabaseUnavailable
        when it could not be asked, unless the last word of the database was lost.
        """
        if self._under_way >= WAITING_AT_MOST:
            raise _busy()
        # Before the row is written: while the database is slow no more than the bound are in it.
        self._under_way += 1
        try:
            asked = await store.ask(
                self._process.pool,
                forwarder_id,
                kind,
                request,
                within_s=ANSWER_WITHIN_S,
                session_since=session_since,
            )
            if asked is None:
                return Reply("absent")
            # Waited for before it is notified: an answer may come at once.
            with self._waits(asked.command_id) as wake:
                self._process.notifier.notify(COMMANDS, str(asked.gateway_id))
                # To be written, and then to be answered.
                within_s = ANSWER_WITHIN_S + request.answer_within_s
                ended = await self._wait(asked.command_id, wake, within_s)
            # What the gateway has written until the deletion counts; what comes later finds no row.
            return await self._close(kind, asked.command_id, ended=ended)
        finally:
            self._under_way -= 1

    @contextmanager
    def _waits(self, command_id: UUID) -> Iterator[Wake]:
        wake = self._waiting[command_id] = Wake()
        try:
            yield wake
        finally:
            del self._waiting[command_id]

    async def _wait(self, command_id: UUID, wake: Wake, within_s: float) -> bool:
        """Wait for so long at the most; true when the command has ended, or nobody is there to take it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        poll_s = POLL_S if self._process.settings.listen else POLL_WITHOUT_LISTEN_S
        while (left_s := until - loop.time()) > 0:
            # Woken or not, the row is what counts: a notification may be lost, or be of before.
            woken = await wake.wait(at_most_s=min(poll_s, left_s))
            try:
                if await store.look(self._process.pool, command_id):
                    if not woken:
                        POLLS_FOUND_WORK.labels(ANSWERS).inc()
                    return True
            except DatabaseUnavailable:
                # It may be back in time. No pause: only an answer to this command wakes, and a listener that is back,
                # so that the next wait is one, of a poll interval.
                continue
        return False

    async def _close(self, kind: Kind, command_id: UUID, *, ended: bool) -> Reply:
        try:
            # Deleted and read in one statement: a gateway takes the row before it, and we see that, or never.
            closed = await store.close(self._process.pool, command_id)
        except DatabaseUnavailable as error:
            # It may be deleted or not, and done or not: the one answer that is never wrong is that nobody knows.
            raise _database_away() from error
        state, answer = closed or ("lost", None)
        # What the row said last counts, and not what woke us: that was a reason to look, and nothing more.
        if state == "done" and answer is not None:
            return Reply("done", answer)
        if state == "absent" or (state == "asked" and ended):
            return Reply("absent")
        raise _why_not(kind, state, decode_why(answer))

    def _on_notification(self, payload: str) -> None:
        for command_id, wake in self._waiting.items():
            if payload in ("", str(command_id)):
                wake.set()


def _why_not(kind: Kind, state: store.State, why: Why | None) -> CommandError:
    """Return what whoever asked is told of a command that was not done, as far as anybody knows."""
    if state == "busy":
        return _busy()
    if state == "refused":
        return _REFUSALS[why]() if why in _REFUSALS else _not_known()
    if state == "lost" and why == "disconnected" and kind.response is not None:
        return _disconnected()
    return _nobody_knows() if state in ("taken", "lost") else _not_taken()


def _too_old() -> CommandError:
    message = "the forwarder is too old for this: update its software"
    return CommandError("CONFLICT", message, ending="not carried out")


def _clearing() -> CommandError:
    message = "the reader is clearing its memory; ask again in 15 seconds"
    return CommandError("CONFLICT", message, ending="not carried out")


def _disconnected() -> CommandError:
    message = "the forwarder disconnected before it answered; it may have done it or not"
    return CommandError("FORWARDER_ERROR", message, ending="nobody knows")


_REFUSALS: Mapping[Why | None, Callable[[], CommandError]] = {"too_old": _too_old, "clearing": _clearing}


def _busy() -> CommandError:
    message = "too many commands are under way; try again later"
    return CommandError("UNAVAILABLE", message, ending="not carried out")


def _not_known() -> CommandError:
    message = (
        "the forwarder's gateway does not know this command, and has not carried it out: it is of another release;"
        " try again when all processes are of the same"
    )
    return CommandError("UNAVAILABLE", message, ending="not carried out")


def _not_taken() -> CommandError:
    message = "the forwarder's gateway did not take the command; it will not be carried out"
    return CommandError("TIMEOUT", message, ending="not carried out")


def _database_away() -> CommandError:
    message = "the database went away before there was an answer; the forwarder may have done it or not"
    return CommandError("TIMEOUT", message, ending="nobody knows")


def _nobody_knows() -> CommandError:
    message = "no answer from the forwarder in time; it may have done it or not"
    return CommandError("TIMEOUT", message, ending="nobody knows")
