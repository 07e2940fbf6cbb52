"""A bare aiohttp server that sends the bytes that a fanout sends, to the same clients: what the best could be.

No database, no replay, no acks kept: a list of sockets and a loop. `POST /run?rate=&seconds=` makes it send.
"""

import asyncio
import sys
import time

import orjson
import uvloop
from aiohttp import WSMsgType, web

EVERY_S = 0.01
SESSION = "00000000-0000-0000-0000-000000000000"
HEARTBEAT = orjson.dumps({"kind": "heartbeat", "session_id": SESSION, "device_id": "bench"})


def batch(seqs: range) -> bytes:
    """Return one message with events as the fanout encodes them."""
    now = f"{time.time():.6f}"
    events = [
        {
            "forwarder_id": "bench",
            "reader_ip": "10.0.0.1:10000",
            "stream_epoch": 1,
            "seq": seq,
            "reader_timestamp": now,
            "raw_read_line": f"{seq:a>36}",
            "read_type": "raw",
        }
        for seq in seqs
    ]
    return orjson.dumps({"kind": "receiver_event_batch", "session_id": SESSION, "events": events})


class Bare:
    """The server."""

    def __init__(self) -> None:
        self._sockets: set[web.WebSocketResponse] = set()
        self._seq = 0

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Greet, and from the subscription on send what is sent to all."""
        socket = web.WebSocketResponse(compress=False, autoping=True)
        await socket.prepare(request)
        await socket.receive()
        await socket.send_frame(HEARTBEAT, WSMsgType.TEXT)
        await socket.receive()
        self._sockets.add(socket)
        while (await socket.receive()).type is WSMsgType.TEXT:
            pass
        self._sockets.discard(socket)
        return socket

    async def run(self, request: web.Request) -> web.Response:
        """Send so many events a second for so many seconds; return how many."""
        rate, seconds = float(request.query["rate"]), float(request.query["seconds"])
        began, first = time.monotonic(), self._seq
        while (passed := time.monotonic() - began) < seconds:
            due = first + int(rate * passed)
            if due > self._seq:
                upto = min(due, self._seq + 100)
                message = batch(range(self._seq + 1, upto + 1))
                self._seq = upto
                for socket in list(self._sockets):
                    await socket.send_frame(message, WSMsgType.TEXT)
            await asyncio.sleep(EVERY_S if self._seq == due else 0)
        return web.json_response({"events": self._seq - first})


async def main(port: int) -> None:
    """Serve until killed."""
    bare = Bare()
    app = web.Application()
    app.add_routes([web.get("/ws/v1/receivers", bare.connect), web.post("/run", bare.run)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
