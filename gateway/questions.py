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

import msgspec

from gateway.commands import Carried, Command
from shared.protocol.commands import ANSWER_TOO_LARGE, Response
from shared.protocol.decoding import LARGE_BYTES
from shared.transport.connection import ConnectionGone, DeviceConnection

__all__ = ["Questions"]

# A configuration has some kilobytes. A larger message is not even decoded; what we make of it may still be longer.
MAX_ANSWER_BYTES = LARGE_BYTES


class _Question(NamedTuple):
    wanted: type[Response]
    answer: "asyncio.Future[Response]"


class Questions:
    """The open questions of a session."""

    def __init__(self, connection: DeviceConnection) -> None:
        self._connection = connection
        self._open: dict[str, _Question] = {}

    @property
    def waiting(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._open)

    async def relay(self, command: Command, until: float) -> Carried:
        """Ask the device what an operator asks, and return what it says; raises what `ask` raises."""
        if self._connection.gone:
            return Carried("absent")
        kind, request_id = command.kind, command.command_id
        if kind.response is None:
            raise TypeError(f"no device answers a command of the kind {kind.name}")
        request = kind.encode(request_id, command.request)
        response = await self.ask(request_id, request, kind.response, until=until)
        answer = msgspec.json.encode(response)
        if len(answer) > MAX_ANSWER_BYTES:
            too_large = kind.response(response.request_id, ok=False, error=ANSWER_TOO_LARGE)
            answer = msgspec.json.encode(too_large)
        return Carried("done", answer)

    async def ask(
        self, question_id: UUID, request: bytes, wanted: type[Response], *, until: float
    ) -> Response:
        """Send a request and return its answer; ConnectionGone when none will come, TimeoutError when none has.

        until: by the loop's clock. The send itself takes as long as the socket does.
        """
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._open[str(question_id)] = _Question(wanted, answer)
        try:
            with suppress(ConnectionGone):
                await self._connection.send(request)
            async with asyncio.timeout_at(until):
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
            for question in self._open.values():
                if not question.answer.done():
                    question.answer.set_exception(ConnectionGone("the socket ended without an answer"))
