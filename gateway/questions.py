"""What one session has asked its device and has no answer to yet.

An answer belongs to the question whose id it carries, and to no other: one that comes too late finds none. A
question ends with its answer or with the end of the socket, not with a failed send: a device that reconnects
at once may have answered before, and that answer may still lie in the dying socket. What is asked and answered may
hold secrets, and is for the device and the asker alone.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from gateway.commands import Carried
from gateway.store.commands import Command
from shared.protocol.decoding import LARGE_BYTES
from shared.protocol.v1 import (
    ANSWER_TOO_LARGE,
    ConfigGetResponse,
    ConfigSetResponse,
    RestartResponse,
    encode_config_get,
    encode_config_set,
    encode_restart,
)
from shared.transport.connection import ConnectionGone, DeviceConnection

__all__ = ["Questions", "Response"]

Response: TypeAlias = ConfigGetResponse | ConfigSetResponse | RestartResponse


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
        request, wanted = _question(command)
        response = await self.ask(command.command_id, request, wanted, until=until)
        answer = msgspec.json.encode(response)
        if len(answer) > MAX_ANSWER_BYTES:
            answer = msgspec.json.encode(
                ConfigGetResponse(response.request_id, ok=False, error=ANSWER_TOO_LARGE)
            )
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


def _question(command: Command) -> tuple[bytes, type[Response]]:
    """Return the message to the device, and the kind of its answer."""
    request_id = command.command_id
    if command.kind == "config_get":
        return encode_config_get(request_id), ConfigGetResponse
    if command.kind == "config_set":
        section, payload = command.request["section"], command.request["payload"]
        return encode_config_set(request_id, section, payload), ConfigSetResponse
    return encode_restart(request_id), RestartResponse
