"""A small server in memory that the simulated devices are tested against: just protocol, with faults on demand.

It keeps what it gets, acks and delivers at once, and remembers what was said to it. It is no model of the real
one: that one has tests of its own.
"""

import asyncio
import csv
import io
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from api.certificate.digests import digests, root
from api.certificate.signing import key_name, public_half, signature_of, text

Message = dict[str, Any]
Stream = tuple[str, str]
Identity = tuple[int, int]


class StandIn:
    """The server; its switches may be turned at any time."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: dict[str, str] = {}
        self.events: defaultdict[Stream, dict[Identity, Message]] = defaultdict(dict)
        self.retransmits: Counter[Stream] = Counter()
        # What was said to it, and when somebody tried to connect.
        self.hellos: list[Message] = []
        self.batches: list[list[Message]] = []
        self.answers: list[Message] = []
        self.answered_at: list[float] = []
        self.subscriptions: list[Message] = []
        self.receiver_acks: list[Message] = []
        self.attempts: list[float] = []
        self.subscribed_at = 0.0
        self.pongs: list[float] = []  # of receivers
        self.close_codes: list[int | None] = []
        self.sockets: dict[str, web.WebSocketResponse] = {}
        # The switches.
        self.refusing = False
        self.greeting = True
        self.minting = asyncio.Event()
        self.minting.set()
        self.asked_for_tokens = 0
        self.acking = True
        self.keep: Callable[[Message], bool] = lambda _: True
        self.deliver: Callable[[Message], list[Message]] = lambda event: [event]
        self.export: Callable[[str], str] = lambda text: text
        self.certify: Callable[[Message], Message] = lambda said: said
        self.key = bytes(32)
        self.asked_for_streams = 0
        self.news = asyncio.Event()  # an event of a stream for all who follow them
        self._receivers: list[web.WebSocketResponse] = []
        self._newer: set[web.WebSocketResponse] = set()
        self._cursors: Counter[tuple[str, str, str, int]] = Counter()

    async def send(self, device_id: str, message: Message) -> None:
        """Send a message to a connected device."""
        await self.sockets[device_id].send_json(message)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ws/v1/forwarders", self._forwarder)
        app.router.add_get("/ws/v1/receivers", self._receiver)
        app.router.add_get("/ws/v1.2/receivers", self._newer_receiver)
        app.router.add_get("/api/v1/events", self._follow)
        app.router.add_post("/api/v1/admin/tokens", self._mint)
        app.router.add_get("/api/v1/admin/tokens", self._list_tokens)
        app.router.add_get("/api/v1/streams", self._streams)
        app.router.add_get("/api/v1/streams/{id}/metrics", self._metrics)
        app.router.add_get("/api/v1/streams/{id}/export.csv", self._export)
        app.router.add_get("/api/v1/certificate", self._certificate)
        app.router.add_get("/api/v1/certificate/key", self._keys)
        return app

    async def _upgrade(self, request: web.Request) -> tuple[str, web.WebSocketResponse, Message]:
        """Take a device in up to its hello; its id, its socket and the heartbeat that is due."""
        self.attempts.append(time.monotonic())
        if self.refusing:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(
            compress=False, autoping=False
        )  # pongs are looked at; devices send no pings
        await socket.prepare(request)
        token = request.headers["Authorization"].removeprefix("Bearer ")
        device_id = self.tokens.get(token, token)
        self.hellos.append(await socket.receive_json())
        self.sockets[device_id] = socket
        return device_id, socket, {"kind": "heartbeat", "session_id": "s-1", "device_id": device_id}

    async def _forwarder(self, request: web.Request) -> web.WebSocketResponse:
        device_id, socket, heartbeat = await self._upgrade(request)
        if self.greeting:
            await socket.send_json(heartbeat)
        try:
            async for frame in socket:
                message = frame.json()
                if message["kind"] == "forwarder_event_batch":
                    await self.take(device_id, socket, message["events"])
                else:
                    self.answers.append(message)
                    self.answered_at.append(time.monotonic())
        finally:  # A handler whose device vanished is cancelled.
            self.close_codes.append(socket.close_code)
        return socket

    async def take(self, device_id: str, socket: web.WebSocketResponse, events: list[Message]) -> None:
        self.batches.append(events)
        last_seqs: dict[tuple[str, int], int] = {}
        for event in events:
            if "raw_frame" in event:
                frame = bytes(event.pop("raw_frame")).decode()
                event["raw_read_line"] = frame.removesuffix("\n").removesuffix("\r")
            stream, identity = (device_id, event["reader_ip"]), (event["stream_epoch"], event["seq"])
            last_seqs[event["reader_ip"], event["stream_epoch"]] = event["seq"]
            if identity in self.events[stream]:
                self.retransmits[stream] += 1
            elif self.keep(event):
                await self.store(stream, {**event, "forwarder_id": device_id})
        if self.acking:
            entries = [
                {"forwarder_id": device_id, "reader_ip": ip, "stream_epoch": epoch, "last_seq": seq}
                for (ip, epoch), seq in last_seqs.items()
            ]
            await socket.send_json({"kind": "forwarder_ack", "session_id": "s-1", "entries": entries})

    async def store(self, stream: Stream, event: Message) -> None:
        self.events[stream][event["stream_epoch"], event["seq"]] = event
        for socket in self._receivers:
            await self._hand_out(socket, [event])

    async def _receiver(self, request: web.Request) -> web.WebSocketResponse:
        device_id, socket, heartbeat = await self._upgrade(request)
        await socket.send_json(heartbeat)
        try:
            async for frame in socket:
                if frame.type is WSMsgType.PONG:
                    self.pongs.append(time.monotonic())
                else:
                    await self._note(device_id, socket, frame.json())
        finally:
            self._receivers = [other for other in self._receivers if other is not socket]
        return socket

    async def _newer_receiver(self, request: web.Request) -> web.WebSocketResponse:
        device_id, socket, heartbeat = await self._upgrade(request)
        self._newer.add(socket)
        if self.greeting:
            await socket.send_json(heartbeat)
            await self._note(device_id, socket, {"kind": "subscribes", **self.hellos[-1]["mode"]})
        try:
            async for frame in socket:
                if frame.type is WSMsgType.PONG:
                    self.pongs.append(time.monotonic())
                elif frame.json()["kind"] == "receiver_ack":
                    await self._note(device_id, socket, frame.json())
                else:
                    self.answers.append(frame.json())
        finally:
            self._receivers = [other for other in self._receivers if other is not socket]
            self._newer.discard(socket)
        return socket

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await self.news.wait()
            self.news.clear()
            await response.write(b'event: stream_updated\ndata: {"type": "stream_updated"}\n\n')

    async def _note(self, device_id: str, socket: web.WebSocketResponse, message: Message) -> None:
        if message["kind"] == "receiver_ack":
            self.receiver_acks.append(message)
            for e in message["entries"]:
                acked = (device_id, e["forwarder_id"], e["reader_ip"], e["stream_epoch"])
                self._cursors[acked] = e["last_seq"]
            return
        self.subscriptions.append(message)
        self.subscribed_at = time.monotonic()
        for stream in message["streams"]:
            at = (stream["forwarder_id"], stream["reader_ip"])
            kept = sorted(self.events.get(at, {}).items())
            due = [e for (epoch, seq), e in kept if seq > self._cursors[device_id, *at, epoch]]
            await self._hand_out(socket, due)
        self._receivers.append(socket)

    async def _hand_out(self, socket: web.WebSocketResponse, events: list[Message]) -> None:
        delivered = [told for event in events for told in self.deliver(event)]
        if socket in self._newer:
            delivered = [_framed(each) for each in delivered]
        if delivered:
            await socket.send_json({"kind": "receiver_event_batch", "session_id": "s-1", "events": delivered})

    async def _mint(self, request: web.Request) -> web.Response:
        self.asked_for_tokens += 1
        await self.minting.wait()
        wanted = await request.json()
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = wanted["device_id"]
        return web.json_response({"token_id": token, "token": token, **wanted}, status=201)

    async def _list_tokens(self, _: web.Request) -> web.Response:
        tokens = [{"device_id": device_id, "revoked_at": None} for device_id in self.tokens.values()]
        return web.json_response({"tokens": tokens})

    async def _streams(self, _: web.Request) -> web.Response:
        self.asked_for_streams += 1
        streams = [
            {
                "stream_id": str(number),
                "forwarder_id": forwarder_id,
                "reader_ip": reader_ip,
                "stream_epoch": max((epoch for epoch, _ in kept), default=1),
            }
            for number, ((forwarder_id, reader_ip), kept) in enumerate(self.events.items())
        ]
        return web.json_response({"streams": streams})

    async def _metrics(self, request: web.Request) -> web.Response:
        stream = self._stream(request)
        return web.json_response({"dedup_count": len(self.events[stream]), "conflict_count": 0})

    async def _export(self, request: web.Request) -> web.Response:
        columns = ["stream_epoch", "seq", "reader_timestamp", "raw_read_line", "read_type"]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        kept = self.events[self._stream(request)]
        writer.writerows(kept[identity] for identity in sorted(kept))
        return web.Response(text=self.export(text.getvalue()), content_type="text/csv")

    async def _certificate(self, request: web.Request) -> web.Response:
        parts = [
            {"stream_id": number, "title": ip, "stream_epoch": epoch, "digest": self._digest(kept, epoch)}
            for number in request.query["stream_id"].split(",")
            for (_, ip), kept in [list(self.events.items())[int(number)]]
            for epoch in sorted({epoch for epoch, _ in kept})
        ]
        reads = sum(map(len, self.events.values()))
        said = self.certify({"verdict": "complete", "reasons": [], "read_count": reads, "parts": parts})
        signature = {"key": key_name(public_half(self.key)), "value": text(signature_of(said, self.key))}
        return web.json_response({**said, "signature": signature})

    async def _keys(self, _: web.Request) -> web.Response:
        public_key = public_half(bytes(32))
        return web.json_response({"keys": [{"key": key_name(public_key), "public_key": text(public_key)}]})

    def _digest(self, kept: dict[Identity, Message], epoch: int) -> str:
        lines = [(seq, kept[of, seq]["raw_read_line"].encode()) for of, seq in sorted(kept) if of == epoch]
        return root(digests(lines)).hex()

    def _stream(self, request: web.Request) -> Stream:
        return list(self.events)[int(request.match_info["id"])]


def _framed(event: Message) -> Message:
    """Return an event as the second generation gets it."""
    told = {name: value for name, value in event.items() if name != "raw_read_line"}
    return {"raw_frame": list(f"{event['raw_read_line']}\r\n".encode()), **told}


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    """Run a stand-in on loopback."""
    standin = StandIn()
    async with TestServer(standin.app()) as server:
        standin.url = str(server.make_url("/"))
        yield standin


@asynccontextmanager
async def running(*coroutines: Any) -> AsyncIterator[None]:
    """Run devices in the background; one that fails fails the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        yield
        for task in tasks:
            task.cancel()
