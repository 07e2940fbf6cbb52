"""Operators' commands, from their rows in `commands` to the sessions' sockets and back.

What holds, whatever dies:

- A command is carried out only by the session that it was asked of, and only before its deadline. The database's
  clock decides when it is taken; from then on a clock of ours that goes on while the process is stopped.
- It is taken once. Whoever dies with it in hand leaves it unanswered: the asker says that it does not know.
- "done" is written only after the socket took the command (epoch_reset, and what need not be answered) or the device
  answered (all others).
- A command of a kind that is not registered, or whose request is not one of its kind, is refused: logged as an
  error, written as `refused`, and no device hears of it.
- A session's commands are tasks of their own, so that a stuck socket holds up nobody else, and one that fails
  unforeseen ends as `lost`, an error in the log. A send is not cancelled at the deadline, so such a task may
  outlive it until its socket ends; their number is bounded.

It knows nothing of a device's messages: a session says how a command is carried out.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self, TypeAlias
from uuid import UUID

import msgspec

from gateway import metrics
from gateway.store import commands as store
from gateway.store.commands import Ending, Taken
from shared.db.channels import ANSWERS, COMMANDS
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import patiently
from shared.log import get_logger
from shared.protocol.commands import KINDS, Kind, Request, Why, encode_why
from shared.runtime.process import Process
from shared.runtime.tasks import Tasks
from shared.transport.account import Account
from shared.transport.connection import ConnectionGone

__all__ = ["Carried", "CarryOut", "Command", "Commands"]

# Of one session at a time: operators are people, and a device does one thing after the other.
MOST_AT_ONCE = 8
# How soon a command is found whose notification was lost, and where none ever arrives.
POLL_S = 1.0
POLL_WITHOUT_LISTEN_S = 0.25
# On a stop the sockets are being closed, which ends what is under way.
STOP_WITHIN_S = 4.0

log = get_logger(__name__)


class Command(NamedTuple):
    """What an operator asks of the device of a session; request may hold secrets."""

    command_id: UUID
    session_id: UUID
    kind: Kind
    request: Request


class Carried(NamedTuple):
    """What came of a command, with the device's answer as JSON where there is one, or the reason (`because`):
    Carried("done", b'{"new_stream_epoch":3}'), Carried("busy").
    """

    ending: Ending
    answer: bytes | None = None

    @classmethod
    def because(cls, ending: Ending, why: Why) -> Self:
        """Return an ending with its reason; what they mean says shared/protocol/commands.py."""
        return cls(ending, encode_why(why))


# Takes a command and until when, by the loop's clock, it may begin to be written.
CarryOut: TypeAlias = Callable[[Command, float], Awaitable[Carried]]


class Commands:
    """The commands of this gateway's sessions."""

    def __init__(self, process: Process, account: Account) -> None:
        self._process = process
        self._account = account
        self._gateway_id: UUID = process.presence.process_id
        self._sessions: dict[UUID, CarryOut] = {}
        self._at_once: Counter[UUID] = Counter()
        self._tasks = Tasks(stop_within_s=STOP_WITHIN_S)
        self._loop = process.loop(
            "commands",
            self._take,
            poll_s=POLL_S if process.settings.listen else POLL_WITHOUT_LISTEN_S,
            channel=COMMANDS,
        )
        process.listener.on(COMMANDS, self._on_notification)

    @contextmanager
    def reach(self, session_id: UUID, carry_out: CarryOut) -> Iterator[None]:
        """Have the session's commands carried out while inside."""
        self._sessions[session_id] = carry_out
        try:
            yield
        finally:
            del self._sessions[session_id]

    async def run(self) -> None:
        """Take commands until the process stops."""
        await self._tasks.during(self._loop.run())

    def _on_notification(self, payload: str) -> None:
        if payload in ("", str(self._gateway_id)):
            self._loop.wake()

    async def _take(self) -> bool:
        # The deadline counts from before the question: what the database takes to answer is not the device's to have.
        asked_at = asyncio.get_running_loop().time()
        # Committed before anything is done. Who dies from here on, or never gets the answer, leaves them taken and in
        # nobody's hand: "nobody knows", and nobody does them twice.
        commands = await store.take_commands(self._process.pool, self._gateway_id)
        for taken in commands:
            self._tasks.start(
                "command",
                self._see_through(taken, asked_at + taken.left_s),
                command_id=str(taken.command_id),
            )
        return bool(commands)

    async def _see_through(self, taken: Taken, until: float) -> None:
        """Have a command carried out and say what came of it, at its deadline at the latest."""
        command = _read(taken)
        # It may begin to be written until then. What the device may take from the write on comes on top.
        ends_by = until if command is None else until + command.request.answer_within_s
        carried = (
            Carried("refused") if command is None else await self._in_time(command, taken, until, ends_by)
        )
        # The row says the kind: only what is registered becomes a label, so that their number has a bound.
        kind = "unknown" if command is None else command.kind.name
        metrics.COMMANDS.labels(kind, carried.ending).inc()
        log.info(
            "command_ended",
            command_id=str(taken.command_id),
            forwarder_id=taken.forwarder_id,
            kind=kind,
            ending=carried.ending,
        )
        # While the database is away, up to the deadline.
        with self._account.holding(len(carried.answer or b"")):
            await self._end_patiently(taken.command_id, carried, ends_by)

    async def _in_time(self, command: Command, taken: Taken, until: float, ends_by: float) -> Carried:
        # A task of its own, which goes on at the deadline: a message that is half written cannot be taken back.
        task = self._tasks.start(
            "carry out",
            self._carry_out(command, held=taken.held, until=until),
            command_id=str(command.command_id),
            kind=command.kind.name,
        )
        await asyncio.wait({task}, timeout=ends_by - asyncio.get_running_loop().time())
        return (task.result() if task.done() else None) or Carried("lost")

    async def _carry_out(self, command: Command, *, held: bool, until: float) -> Carried:
        # The session may have ended since it was asked, and its device be connected anew: then the command was not for
        # that.
        carry_out = self._sessions.get(command.session_id)
        if carry_out is None or not held:
            return Carried("absent")
        if asyncio.get_running_loop().time() >= until:
            return Carried(
                "lost"
            )  # we were stopped with it in hand: whoever asked has been told that nobody knows
        if self._at_once[command.session_id] >= MOST_AT_ONCE:
            return Carried("busy")
        # Given back when it has ended, not at its deadline: what hangs in a stuck socket keeps its place, which is the
        # bound.
        self._at_once[command.session_id] += 1
        try:
            return await carry_out(command, until)
        except ConnectionGone:
            return Carried.because("lost", "disconnected")
        except TimeoutError:
            return Carried("lost")
        finally:
            self._at_once[command.session_id] -= 1
            if not self._at_once[command.session_id]:
                del self._at_once[command.session_id]

    async def _end_patiently(self, command_id: UUID, carried: Carried, until: float) -> None:
        clock = asyncio.get_running_loop().time
        try:
            await patiently(
                lambda: store.end_command(self._process.pool, command_id, *carried),
                waits="command_waits",
                in_vain=lambda: clock() >= until,
                command_id=str(command_id),
            )
        except DatabaseUnavailable as error:
            log.warning("command_unanswered", command_id=str(command_id), error=str(error))
        else:
            # Row first, notification after the commit: who is woken finds the answer there.
            self._process.notifier.notify(ANSWERS, str(command_id))


def _read(taken: Taken) -> Command | None:
    """Return what is asked; None when it is nothing that we know, which is logged without what may be secret in it."""
    kind = KINDS.get(taken.kind)
    try:
        if kind is not None:
            request = msgspec.json.decode(taken.request, type=kind.request)
            return Command(taken.command_id, taken.session_id, kind, request)
        problem = "no such kind is registered: whoever asked is of another release"
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        problem = "its request is none of its kind"
    log.error(
        "command_refused",
        command_id=str(taken.command_id),
        forwarder_id=taken.forwarder_id,
        kind=taken.kind,
        error=problem,
    )
    return None
