"""A receiver of the second generation: it says what it wants in its hello, and gets reads as bytes.

Like the first (receiver.py), but
- it connects **by itself**, again after 1, 2, 4, .. 30 s, whatever refused it; only an `error` before its heartbeat
  ends that for good (`ended`), until a person acts;
- between upgrade and hello it asks for the list of streams, without credentials, and names the current epochs as its
  earliest where its user has set none. Then it waits for its heartbeat, as long as that takes;
- after the heartbeat it **reads nothing** while it asks over HTTP, one question after the other, three seconds each: no
  ack, no pong;
- what one message holds is dropped **without an ack** when one event of it is wrong;
- it follows the events of the operators' API and asks for the streams again with each that concerns them.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from deploy.simulation.devices.connection import UNREACHABLE, Connection
from deploy.simulation.devices.journal import Event
from deploy.simulation.devices.messages import Message, receiver_hello_v12
from deploy.simulation.devices.receiver import SECOND_GENERATION, Manners, Receiver

__all__ = ["BadBatchError", "NewerReceiver", "read_event"]

# What the race software tells one line from the next by.
LINE_END = "\r\n"
QUESTION_S = 3.0
BACKOFF_S = (1.0, 30.0)
EVENTS_AGAIN_S = 1.0
_BEFORE_HEARTBEAT = frozenset({"receiver_mode_applied", "receiver_stream_metrics"})
_REFETCH = frozenset({"stream_created", "stream_updated", "resync"})
_UPDATES = frozenset(
    {
        "receiver_stream_metrics",
        "reader_status_changed",
        "receiver_reader_info_update",
        "receiver_reader_download_progress",
        "forwarder_ups_status",
    }
)


class BadBatchError(Exception):
    """A message holds an event that this device cannot read."""


class NewerReceiver(Receiver):
    """One simulated receiver of the second generation; `stay` keeps it connected, `run` is one connection.

    `api_url` is where it asks over HTTP, the same as `url` unless given. `mode` is what it wants: all of `streams`,
    live, unless given; `earliest_epochs` are its user's own settings. `told` keeps the newest of each kind of what else
    it was told, `answers` what it has asked by `ask`, until it is answered.
    """

    path = "/ws/v1.2/receivers"

    def __init__(
        self,
        *,
        url: str,
        token: str,
        receiver_id: str,
        api_url: str | None = None,
        mode: Message | None = None,
        earliest_epochs: Mapping[tuple[str, str], int] = {},
        manners: Manners = SECOND_GENERATION,
        **settings: Any,
    ) -> None:
        super().__init__(url=url, token=token, receiver_id=receiver_id, manners=manners, **settings)
        # It keeps one cursor of each stream, the newest, of whatever it ever had.
        newest = {each[:2]: each for each in sorted(self._resume)}
        self._resume = {each: self._resume[each] for each in newest.values()}
        self._api_url = (api_url or url).rstrip("/")
        self._mode, self._earliest = mode, dict(earliest_epochs)
        self._greeted = False
        self._asked = 0
        self.ended = False
        self.bad_batches = 0
        self.told: dict[str, Message] = {}
        self.answers: dict[str, asyncio.Future[Message]] = {}

    async def stay(self, backoff_s: tuple[float, float] = BACKOFF_S) -> None:
        """Keep connected until told to end, or until cancelled."""
        shortest_s, longest_s = backoff_s
        pause_s = shortest_s
        while not self.ended:
            sessions = self.sessions
            with suppress(*UNREACHABLE):
                await self.run()
            pause_s = shortest_s if self.sessions > sessions else min(2 * pause_s, longest_s)
            await asyncio.sleep(pause_s)

    async def ask(self, name: str, **fields: object) -> Message:
        """Ask for something through the socket, and return the response; ConnectionError without a session."""
        if self.connection is None or not self._connected.is_set():
            raise ConnectionError("there is no session")
        self._asked += 1
        request_id = f"{self.receiver_id}-{self._asked}"
        answer = self.answers[request_id] = asyncio.get_running_loop().create_future()
        request = {"kind": f"receiver_proxy_{name}_request", "request_id": request_id, **fields}
        await self.connection.send(request)
        response: Message = await answer
        return response

    async def _receive(self, connection: Connection) -> None:
        self._greeted = False
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=QUESTION_S)) as http:
            await connection.send(await self._hello(http))
            following: asyncio.Task[None] | None = None
            try:
                async for message in connection.messages():
                    if not await self._handle(connection, message):
                        return
                    if self._greeted and following is None:
                        await self._ask_unread(http)
                        following = asyncio.create_task(
                            self._follow_events(), name=f"{self.receiver_id} events"
                        )
            finally:
                if following is not None:
                    following.cancel()
                self._lose_answers()

    def _lose_answers(self) -> None:
        """What was asked is answered in its own session or never."""
        for answer in self.answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the session has ended"))
        self.answers.clear()

    async def _hello(self, http: aiohttp.ClientSession) -> Message:
        if self._mode is not None:
            return receiver_hello_v12(self.receiver_id, self._mode, self._resume)
        current = await self._list_streams(http)
        earliest = {}
        if current is not None or self._earliest:
            earliest = {
                stream: self._earliest.get(stream, (current or {}).get(stream, 0)) for stream in self.streams
            }
        named = [{"forwarder_id": name, "reader_ip": ip} for name, ip in self.streams]
        mode = {
            "mode": "live",
            "streams": named,
            "earliest_epochs": [
                {"forwarder_id": name, "reader_ip": ip, "earliest_epoch": epoch}
                for (name, ip), epoch in earliest.items()
            ],
        }
        return receiver_hello_v12(self.receiver_id, mode, self._resume)

    async def _list_streams(self, http: aiohttp.ClientSession) -> dict[tuple[str, str], int] | None:
        """Return the current epoch of each stream; None without an answer, or with one bad entry in it."""
        answer = await self.get(http, "/api/v1/streams")
        try:
            return {
                (each["forwarder_id"], each["reader_ip"]): int(each["stream_epoch"])
                for each in (answer or {})["streams"]
            }
        except (KeyError, TypeError, ValueError):
            return None

    async def get(self, http: aiohttp.ClientSession, path: str, *, shows_token: bool = False) -> Any:
        """Return what a path answers, None where it answers nothing that can be read."""
        headers = {"Authorization": f"Bearer {self._token}"} if shows_token else {}
        with suppress(*UNREACHABLE, orjson.JSONDecodeError):
            async with http.get(self._api_url + path, headers=headers) as answer:
                if answer.status == 200:
                    return orjson.loads(await answer.read())
        return None

    async def _ask_unread(self, http: aiohttp.ClientSession) -> None:
        """Ask what there is to ask, in turn; frames stay unread and pings unanswered. Its user may leave meanwhile."""
        await self.get(http, "/api/v1/streams")
        mode = self._mode or {}
        if mode.get("mode") == "race":
            await self.get(http, f"/api/v1/races/{mode['race_id']}/stream-epochs", shows_token=True)
        else:
            assigned = await self.get(http, "/api/v1/forwarder-races", shows_token=True)
            for race_id in _races_of(assigned, {name for name, _ in self.streams}):
                await self.get(http, f"/api/v1/races/{race_id}/participants", shows_token=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._unresponsive_s):
                await self._leaving.wait()

    async def _follow_events(self) -> None:
        """Follow the operators' events, and ask for the streams with each that concerns them."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "text/event-stream"}
        while True:
            with suppress(*UNREACHABLE):
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=3)) as http,
                    http.get(f"{self._api_url}/api/v1/events", headers=headers) as answer,
                ):
                    await self._refetch_with(answer, http)
            await asyncio.sleep(EVENTS_AGAIN_S)

    async def _refetch_with(self, events: aiohttp.ClientResponse, http: aiohttp.ClientSession) -> None:
        async for line in events.content:
            name = line.decode().removeprefix("event: ").strip()
            if line.startswith(b"event: ") and name in _REFETCH:
                await self.get(http, "/api/v1/streams")

    async def _handle(self, connection: Connection, message: Message) -> bool:
        """Take a message; False when it ends this connection."""
        kind = str(message.get("kind"))
        if not self._greeted:
            return self._received_before_heartbeat(kind, message)
        if kind == "receiver_event_batch":
            await self._take_batch(connection, message)
        elif kind == "error":
            self.last_error = message
            return False
        elif kind.startswith("receiver_proxy_"):
            answer = self.answers.pop(str(message.get("request_id")), None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif kind in _UPDATES or kind == "receiver_mode_applied":
            self.told[kind] = message
        return True

    def _received_before_heartbeat(self, kind: str, message: Message) -> bool:
        if kind == "heartbeat":
            self._greeted = True
            if self._mode is not None and self._mode["mode"] == "targeted_replay":
                # It takes a replay for done by then: cut off in the middle it asks for nothing more.
                self._mode = {**self._mode, "targets": []}
            self.sessions += 1
            self._session_id = message["session_id"]
            self._connected.set()
            return True
        if kind == "error":
            self.last_error, self.ended = message, True
        return kind in _BEFORE_HEARTBEAT

    async def _take_batch(self, connection: Connection, message: Message) -> None:
        try:
            events = [read_event(event) for event in message["events"]]
        except BadBatchError:
            self.bad_batches += 1
            return
        await self._take(connection, events)

    def want(self, mode: Message) -> None:
        """Take a mode, from the next connection on."""
        self._mode = mode

    async def subscribe(self, streams: Iterable[tuple[str, str]]) -> None:
        """Have further streams from the next connection on: it cuts this one, without a close frame."""
        self.streams += list(streams)
        if self.connection:
            await self.connection.drop()

    def _is_as_sent(self, event: Message, sent: Event) -> bool:
        return super()._is_as_sent(
            {**event, "raw_read_line": event["raw_read_line"].removesuffix(LINE_END)}, sent
        ) and event["raw_read_line"].endswith(LINE_END)


def read_event(event: Message) -> Message:
    """Return an event with its bytes as text, its line end included; BadBatchError for what it cannot read."""
    try:
        frame = bytes(event["raw_frame"])
        numbers = (event["stream_epoch"], event["seq"])
        if "raw_read_line" in event or not all(type(each) is int and each >= 0 for each in numbers):
            raise BadBatchError(str(event))
        return {**event, "raw_read_line": frame.decode(errors="surrogateescape")}
    except (KeyError, TypeError, ValueError) as error:
        raise BadBatchError(str(event)) from error


def _races_of(assigned: Any, forwarders: set[str]) -> list[str]:
    """Return the races of these forwarders, each once."""
    try:
        listed = assigned["assignments"]
        return list(
            dict.fromkeys(
                each["race_id"] for each in listed if each["forwarder_id"] in forwarders and each["race_id"]
            )
        )
    except (KeyError, TypeError):
        return []
