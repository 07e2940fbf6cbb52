"""The requests of one receiver, from its socket to an api process and back (protocol.md, section 13).

What holds:
- Each is answered once, within ANSWER_WITHIN_S: by an api process, or with "no answer" or "busy".
- None holds up reads, acks or another request: the session hands them in and goes on, one task does all else.
- What they take is bounded: AT_ONCE of them, their bytes in the account until the database has them; an answer waits in
  the database until the receiver has taken the one before it.
- What a session leaves behind, and no api process has taken, is not carried out.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from fanout import metrics
from fanout.proxy.replies import Replies
from fanout.store import requests as store
from shared.db.channels import REPLIES, REQUESTS
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import before_next_try, promptly
from shared.log import get_logger
from shared.metrics import POLLS_FOUND_WORK
from shared.protocol.requests import NOT_YET, Asked, read_request
from shared.transport.account import Account, Held
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity
from shared.wake import Wake

__all__ = ["Requests"]

AT_ONCE = 16
# Receivers wait 25 s. An api process must have written the answer a little earlier, for the way back.
ANSWER_WITHIN_S, WAY_BACK_S = 20.0, 1.0
POLL_S, POLL_WITHOUT_LISTEN_S = 0.5, 0.1
# Of refusals that nobody reads: whoever asks on and on is told of no more.
REFUSALS = 64
# At the end of a session nobody waits for the database.
WITHDRAW_WITHIN_S = 2.0

log = get_logger(__name__)


@dataclass(eq=False)
class _Open:
    """A request without a response. number: counted in its session. body: until the database has it; row: its id there,
    from then on.
    """

    number: int
    asked: Asked
    until: float
    body: bytes | None
    row: UUID | None = None


class Requests:
    """What one receiver has asked. account: of what devices make the process hold."""

    def __init__(
        self, connection: DeviceConnection, identity: Identity, replies: Replies, account: Account
    ) -> None:
        self._connection, self._identity = connection, identity
        self._replies, self._account = replies, account
        self._process = replies.process
        self.poll_s = POLL_S if self._process.settings.listen else POLL_WITHOUT_LISTEN_S
        self._number = 0  # of the newest request
        self._open: list[_Open] = []  # in the order of asking, and so of their deadlines
        self.responses: deque[bytes] = deque()
        self._wake = Wake()
        self._clock = asyncio.get_running_loop().time

    def take(self, message: bytes) -> bool:
        """Take what a receiver asks, without waiting; false where nobody could be answered."""
        asked = read_request(message)
        if asked is not None:
            self.ask(message, asked)
        return asked is not None

    def ask(self, message: bytes, asked: Asked) -> None:
        """Take what has been read already."""
        if len(self._open) < AT_ONCE:
            # Counted before it is kept, and until the database has it (`_let_go`): while that is away, what waits for
            # it is held here.
            self._account.hold(Held(len(message)))
            self._number += 1
            self._open.append(_Open(self._number, asked, self._clock() + ANSWER_WITHIN_S, message))
        elif len(self.responses) < REFUSALS:
            metrics.REQUESTS.labels(asked.kind.name, "busy").inc()
            self.responses.append(asked.response(asked.failure("busy")))
        self._wake.set()

    async def run(self) -> None:
        """Have requests answered until cancelled; ConnectionGone when the receiver is not there any more."""
        try:
            # Before the first is asked: an answer that comes while the asking statement returns wakes the next wait.
            with self._replies.told(self._connection.session_id, self._wake.set):
                polled = False
                while True:
                    # Responses before the next answer is taken: a receiver that reads slowly leaves the rest in the
                    # database.
                    await self._respond()
                    await self._exchange(polled=polled)
                    self._give_up()
                    polled = not (self.responses or await self._wait())
        finally:
            # What is held first: taking back waits for the database, for seconds where it hangs.
            for each in self._open:
                self._let_go(each)
            # What no api process has taken is not carried out for a receiver that is gone.
            await self._withdraw([each.row for each in self._open if each.row])

    async def _wait(self) -> bool:
        """Wait for a request or an answer (true), or until it is time to look: for an answer, at a deadline."""
        if not self._open:
            return await self._wake.wait(at_most_s=3600)
        left_s = self._open[0].until - self._clock()
        return await self._wake.wait(at_most_s=max(0.0, min(self.poll_s, left_s)))

    async def _respond(self) -> None:
        while self.responses:
            response = self.responses[0]
            with self._account.holding(len(response)):
                await self._connection.send(response)
            self.responses.popleft()

    async def _exchange(self, *, polled: bool) -> None:
        """Put down what was asked, and take one answer away. A database that hangs has until the first deadline."""
        if not self._open:
            return
        try:
            left_s = max(0.0, self._open[0].until - self._clock())
            await promptly(self._ask_and_collect(polled=polled), within_s=left_s)
        except TimeoutError:
            pass
        except DatabaseUnavailable as error:
            log.debug("requests_wait", session_id=str(self._connection.session_id), error=str(error))
            await before_next_try()

    async def _ask_and_collect(self, *, polled: bool) -> None:
        # Again, where the database failed before it answered: it may have the request by then, and knows its number.
        for each in self._open:
            if each.body is not None:
                await self._ask(each, each.body)
        await self._collect(polled=polled)

    async def _ask(self, request: _Open, body: bytes) -> None:
        left_s = request.until - self._clock() - WAY_BACK_S
        request.row = await store.ask(
            self._process.pool,
            session_id=self._connection.session_id,
            number=request.number,
            receiver_id=self._identity.device_id,
            token_id=self._identity.token_id,
            address=self._connection.address.encode(errors="replace").decode(),
            kind=request.asked.kind.name,
            body=body,
            within_s=max(0.0, left_s),
        )
        # The database has it. A deadline that ends the statement before leaves a row that nobody knows: its answer
        # matches no request, and is dropped.
        self._let_go(request)
        self._process.notifier.notify(REQUESTS)

    async def _collect(self, *, polled: bool) -> None:
        # Off the table by the statement's commit: where its answer is lost the request ends at its deadline.
        answer = await store.take_answer(self._process.pool, self._connection.session_id)
        if answer is None:
            return
        if polled:
            POLLS_FOUND_WORK.labels(REPLIES).inc()
        for each in self._open:
            if each.row == answer.row:
                self._end(each, answer.fields or each.asked.failure(NOT_YET), "answered")
                return

    def _give_up(self) -> None:
        """Answer what nobody has answered in time."""
        while self._open and self._open[0].until <= self._clock():
            self._end(self._open[0], self._open[0].asked.failure("no answer"), "no answer")

    def _end(self, request: _Open, fields: bytes, ending: str) -> None:
        self._let_go(request)
        self._open.remove(request)
        metrics.REQUESTS.labels(request.asked.kind.name, ending).inc()
        self.responses.append(request.asked.response(fields))

    def _let_go(self, request: _Open) -> None:
        """Hold its bytes no more."""
        if request.body is not None:
            self._account.give_back(Held(len(request.body)))
            request.body = None

    async def _withdraw(self, rows: list[UUID]) -> None:
        try:
            if rows:
                taking_back = store.withdraw(self._process.pool, self._connection.session_id, rows)
                await promptly(taking_back, within_s=WITHDRAW_WITHIN_S)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.debug("requests_left", session_id=str(self._connection.session_id), error=str(error))
