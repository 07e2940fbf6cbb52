"""What operators ask of one forwarder, one thing after the other.

A forwarder does what it is asked within its upload: while it is at it, nothing of any of its readers comes and no ack
is read. So the next command is written when the last has ended, and none that could do harm is written at all: to an
older forwarder, which would end its session for a message that it does not know; and to a reader that clears its
memory, for which everything behind would wait.

Epoch resets do not wait here: they are obeyed at once, and have their own order (gateway/epochs.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from gateway.commands import Carried, Command
from gateway.questions import Questions
from gateway.store import devices as store
from shared.protocol.commands import ANSWER_TOO_LARGE, ClearRecords, Kind, ReaderControl, Response
from shared.protocol.decoding import LARGE_BYTES
from shared.runtime.process import Process
from shared.transport.connection import DeviceConnection

__all__ = ["Control"]

# A configuration has some kilobytes. A larger message is not even decoded; what we make of it may still be longer.
MAX_ANSWER_BYTES = LARGE_BYTES
# It takes 11 s, and nobody tells when it is done.
CLEARING_S: Final = 15.0


class Control:
    """The commands of a session that its device answers.

    older: whether the device has shown that it is of the older generation. patiently: does what needs the database.
    """

    def __init__(
        self,
        connection: DeviceConnection,
        questions: Questions,
        process: Process,
        forwarder_id: str,
        *,
        patiently: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
    ) -> None:
        self._connection = connection
        self._questions = questions
        self._process = process
        self._forwarder_id = forwarder_id
        self._patiently = patiently
        self._one_at_a_time = asyncio.Lock()
        self.older = False

    async def carry_out(self, command: Command, until: float) -> Carried:
        """Do what is asked when all that was asked before has ended; see Commands."""
        async with self._one_at_a_time:
            # What waited here may have outlived the session.
            if self._connection.gone or self._questions.over:
                return Carried("absent")
            if isinstance(command.request, ReaderControl):
                return await self._control_reader(command, command.request, until)
            return _carried(command.kind, await self._questions.relay(command, until))

    async def _control_reader(self, command: Command, request: ReaderControl, until: float) -> Carried:
        pool, device = self._process.pool, (self._forwarder_id, request.reader_ip)
        if await self._patiently(lambda: store.is_clearing(pool, *device)):
            return Carried.because("refused", "clearing")
        # Looked at last: it may have shown it just now.
        if self.older:
            return Carried.because("refused", "too_old")
        if not isinstance(request.action, ClearRecords):
            return _carried(command.kind, await self._questions.relay(command, until))
        return await self._clear(command, device, until)

    async def _clear(self, command: Command, device: tuple[str, str], until: float) -> Carried:
        pool = self._process.pool
        # Before it is written: whoever dies in between keeps others from the reader for nothing, and for a moment.
        await self._patiently(lambda: store.begin_clearing(pool, *device, for_s=CLEARING_S))
        if self.older or asyncio.get_running_loop().time() >= until:
            # Nothing of it was written: the reader clears nothing.
            await self._patiently(lambda: store.end_clearing(pool, *device))
            if self.older:
                return Carried.because("refused", "too_old")
            raise TimeoutError
        response = await self._questions.relay(command, until)
        if response is not None and not response.ok:
            await self._patiently(lambda: store.end_clearing(pool, *device))
        return _carried(command.kind, response)


def _carried(kind: Kind, response: Response | None) -> Carried:
    """Return what a device said, as it stands in the command's row."""
    answer = msgspec.json.encode(response)
    if response is not None and len(answer) > MAX_ANSWER_BYTES and kind.response is not None:
        too_large = kind.response(response.request_id, ok=False, error=ANSWER_TOO_LARGE)
        answer = msgspec.json.encode(too_large)
    return Carried("done", answer)
