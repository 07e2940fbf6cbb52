"""Takes what receivers ask, has it done as if it had come over HTTP, and writes the answer where the fanout finds it.

- A request is taken once, by one process, and carried out only while somebody waits for it.
- It is answered, whatever happens: with what a handler says, or with why not, in the words of HTTP.
- The operators' log names the receiver as who asked.
- A kind that has no handler is answered at once: it is not available yet.
"""

import asyncio
from contextlib import nullcontext
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, get_type_hints

import msgspec
import orjson

from api.http.asking import Asker, asked_by
from api.http.context import Api
from api.http.device_tokens import Device
from api.http.errors import ApiError, told
from api.proxy import store
from api.proxy.handlers import HANDLERS, Handler
from api.proxy.store import Taken
from shared.db.channels import REPLIES, REQUESTS
from shared.db.patience import patiently
from shared.log import get_logger
from shared.protocol.requests import NOT_YET, RESPONSE_BYTES, Asked, read_request
from shared.runtime.tasks import Tasks

__all__ = ["Answers"]

# Most of them wait for a device. What is more waits in the table, for us or another process.
AT_ONCE = 64
# Bodies of more than this are in memory one at a time, and so are answers that the database makes whole, such as a
# roster of 16 MiB: sixty-four of them were more than a container has.
LARGE_BYTES = 1024 * 1024
# The fanout puts the receiver's own id of the request before them.
FIELDS_BYTES = RESPONSE_BYTES - 4096
POLL_S, POLL_WITHOUT_LISTEN_S = 0.5, 0.1
# A device's refusal may have 1 MiB.
LONGEST_WORDS = 1000
STOP_WITHIN_S = 2.0

T = TypeVar("T")

log = get_logger(__name__)


class Answers:
    """What receivers ask of this process."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._process = process = api.process
        self._under_way = 0
        self._large = asyncio.Lock()
        self._tasks = Tasks(stop_within_s=STOP_WITHIN_S)
        self._loop = process.loop(
            "requests",
            self._take,
            poll_s=POLL_S if process.settings.listen else POLL_WITHOUT_LISTEN_S,
            channel=REQUESTS,
        )
        process.listener.on(REQUESTS, lambda _: self._loop.wake())

    async def run(self) -> None:
        """Answer until the process stops."""
        await self._tasks.during(self._loop.run())

    async def _take(self) -> bool:
        if self._under_way >= AT_ONCE:
            return False  # the next that is answered wakes us
        # Before the question: what the database takes to answer is part of the time that the receiver waits.
        asked_at = asyncio.get_running_loop().time()
        # Committed before anything is done: who dies from here on leaves them taken, nobody does them again, and the
        # fanout tells the receiver "no answer".
        taken = await store.take(self._process.pool, AT_ONCE - self._under_way)
        for each in taken:
            # Counted before its task runs, so that the next look takes no more than there is room for.
            self._under_way += 1
            answering = self._tasks.start(
                "receiver request",
                self._see_through(each, asked_at + each.left_s),
                request_id=str(each.request_id),
            )
            answering.add_done_callback(self._ended)
        return bool(taken)

    def _ended(self, _: object) -> None:
        self._under_way -= 1
        self._loop.wake()

    async def _see_through(self, taken: Taken, until: float) -> None:
        """Answer a request, or leave it when it is too late."""
        try:
            # The wait for the one place of what is large is part of it. What a handler has asked of a device by then is
            # not taken back.
            async with asyncio.timeout_at(until), self._large if _is_large(taken) else nullcontext():
                fields = await self._fields(taken)
                await patiently(
                    lambda: store.answer(self._process.pool, taken.request_id, fields), waits="answer_waits"
                )
                # Row first: the fanout that is woken finds the answer there.
                self._process.notifier.notify(REPLIES, str(taken.session_id))
        except TimeoutError:
            log.warning("receiver_request_unanswered", kind=taken.kind, receiver_id=taken.receiver_id)

    async def _fields(self, taken: Taken) -> bytes | None:
        """Return the fields of the response; None where we know too little of the kind to fill them."""
        body = await patiently(
            lambda: store.read_body(self._process.pool, taken.request_id), waits="request_waits"
        )
        asked = read_request(body or b"")
        if body is None or asked is None:
            return None
        handler = HANDLERS.get(taken.kind)
        if handler is None:
            return asked.failure(NOT_YET)
        log.info("receiver_request", kind=taken.kind, receiver_id=taken.receiver_id)
        device = Device("receiver", taken.receiver_id, taken.token_id)
        with asked_by(Asker.of_device(device, taken.address)):
            return await self._asked_for(asked, body, handler)

    async def _asked_for(self, asked: Asked, body: bytes, handler: Handler) -> bytes:
        # Others have their turn between the two walks through it: either may take 60 ms of 16 MiB.
        await asyncio.sleep(0)
        try:
            request = msgspec.json.decode(body, type=_wanted_by(handler))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return asked.failure(f"request: {error}")
        try:
            answer = await handler(self._api, request)
        except Exception as error:
            return asked.failure(_in_words(told(error, method="receiver request", path=asked.kind.name)))
        if not isinstance(answer, bytes):
            answer = orjson.dumps(msgspec.to_builtins(answer or {}, builtin_types=(datetime,)))
        fields = asked.success(answer)
        return fields if len(fields) <= FIELDS_BYTES else asked.failure("too large")


def _in_words(error: ApiError) -> str:
    """Return what is wrong; a device's refusal in the device's own words, which HTTP has in the details."""
    details = {} if error.details is msgspec.UNSET else error.details
    words = details.get("error") if error.code == "FORWARDER_ERROR" else None
    return words[:LONGEST_WORDS] if isinstance(words, str) and words else str(error)


def _is_large(taken: Taken) -> bool:
    """Whether a request, or what is answered to it, may take much memory: each takes several times its size."""
    handler = HANDLERS.get(taken.kind)
    return taken.size > LARGE_BYTES or (handler is not None and _makes_bytes(handler))


@cache
def _makes_bytes(handler: Handler) -> bool:
    """Whether it answers with bytes that the database has made: others answer with a few fields."""
    return get_type_hints(handler).get("return") is bytes


@cache
def _wanted_by(handler: Handler) -> Any:
    """Return the type of what a handler takes beside the api."""
    _api, wanted, _answer = get_type_hints(handler).values()
    return wanted
