"""What one session has asked its device and has no answer to yet.

An answer belongs to the question whose id it carries, and to no other: one that comes too late finds none. A
question ends with its answer or with the end of the socket, not with a failed send: a device that reconnects
at once may have answered before, and that answer may still lie in the dying socket. What is asked and answered may
hold secrets, and is for the device and the asker alone.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from uuid import UUID

from gateway.commands import Command
from shared.protocol.commands import Response
from shared.transport.connection import ConnectionGone, DeviceConnection

__all__ = ["Questions"]


class _Question(NamedTuple):
    wanted: type[Response]
    answer: "asyncio.Future[Response]"


class Questions:
    """The open questions of a session."""

    def __init__(self, connection: DeviceConnection) -> None:
        self._connection = connection
        self._open: dict[str, _Question] = {}
        self.over = False  # nothing that is asked from now on is answered

    @property
    def waiting(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._open)

    async def relay(self, command: Command, until: float) -> Response | None:
        """Ask the device what an operator asks, and return what it says; None where it need not answer and does not.

        Raises TimeoutError where it could not be asked before `until`, by the loop's clock, and what `ask` raises.
        """
        kind, request, request_id = command.kind, command.request, command.command_id
        if kind.response is None:
            raise TypeError(f"no device answers a command of the kind {kind.name}")
        if asyncio.get_running_loop().time() >= until:
            raise TimeoutError
        within_s = request.silent_after_s or request.answer_within_s
        message = kind.encode(request_id, request)
        try:
            return await self.ask(request_id, message, kind.response, until=until, within_s=within_s)
        except TimeoutError:
            if request.silent_after_s is None:
                raise
            if self._connection.gone:
                raise ConnectionGone("the socket ended, perhaps before it took everything") from None
            return None

    async def ask(
        self, question_id: UUID, request: bytes, wanted: type[Response], *, until: float, within_s: float = 0
    ) -> Response:
        """Send a request and return its answer; ConnectionGone when none will come, TimeoutError when none has.

        until: by the loop's clock. within_s: if not 0, how long the answer is waited for instead, from the moment when
        the request was written. The send itself takes as long as the socket does.
        """
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._open[str(question_id)] = _Question(wanted, answer)
        try:
            with suppress(ConnectionGone):
                await self._connection.send(request)
            answered_by = asyncio.get_running_loop().time() + within_s if within_s else until
            async with asyncio.timeout_at(answered_by):
                return await answer
        finally:
            del self._open[str(question_id)]

    def answered(self, response: Response) -> bool:
        """Take an answer; false when nobody waits for it."""
        question = self._open.get(response.request_id)
        if question is None or type(response) is not question.wanted or question.answer.done():
            return False
        question.answer.set_result(response)
        return True

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Take answers inside; afterwards no more will come."""
        try:
            yield
        finally:
            self.over = True
            for question in self._open.values():
                if not question.answer.done():
                    question.answer.set_exception(ConnectionGone("the socket ended without an answer"))
