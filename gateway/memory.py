"""Stages what operators found in a reader's own memory and nowhere with us (api/reconcile/), like any read: as the
stream `<reader_ip>#memory` of the same forwarder.

- **Its fence.** A drain leaves out what has an older fence than the forwarder's newest session: that keeps a gateway
  that slept from storing for a device that another one has by now. No session has sent these lines, so none may be in
  their way, nor may they be in a session's: they carry the highest number that there is, which is no session's, and no
  row of `forwarder_sessions` is touched. What a fence is for (nobody stores under an identity that somebody else gives)
  holds otherwise: the numbers of these lines were given when they were left, in the database, once and for all. So two
  gateways that stage the same part, because one was taken for dead and goes on, stage the same lines under the same
  numbers, and the second is a retransmit. And no session has a stream of this name (gateway/store/streams.py).
- **Nothing is lost.** A part stays in its table until its lines are in `events`, and the database itself looks
  (`end_memory_parts`). Whoever dies with it in hand leaves it to another, when his lease is over.
- **Nobody waits for it.** A few parts at a time, counted in the account like batches of devices.
"""

from collections.abc import Sequence
from time import monotonic
from uuid import uuid4

from gateway.batch import Batch, split
from gateway.staging import Staging
from gateway.store.memory import MemoryPart, end_parts, take_parts
from gateway.store.streams import register_streams
from shared.db.channels import STREAMS
from shared.db.connections import LARGEST_BIGINT
from shared.log import get_logger
from shared.protocol.ipico import annotate_frame
from shared.protocol.memory import memory_of
from shared.protocol.v1 import ReadEvent
from shared.runtime.process import Process

__all__ = ["Memory"]

# Above that of every session: see above.
NO_SESSIONS_FENCE = LARGEST_BIGINT
# Nobody waits for milliseconds: who has left lines is a person who looks at a page.
POLL_S = 2.0
# Of 500 lines each: what is under way at once is less than what a device may have.
AT_ONCE = 4
# What the database has refused lies with the dead letters, and is tried again as a device would.
AGAIN_AFTER_S = 30.0

log = get_logger(__name__)


class Memory:
    """The parts of readers' memories that this gateway has in hand."""

    def __init__(self, process: Process, staging: Staging) -> None:
        self._process = process
        self._staging = staging
        # By part: its batch, and from when on it is not under way any more, because it was refused.
        self._under_way: dict[int, Batch] = {}
        self._refused_until: dict[int, float] = {}
        self._loop = process.loop("memory", self._look, poll_s=POLL_S)

    async def run(self) -> None:
        """Stage what is left to be staged until the process stops."""
        await self._loop.run()

    async def _look(self) -> None:
        await self._end_settled()
        parts = await take_parts(
            self._process.pool,
            self._process.presence.process_id,
            under_way=[*self._under_way, *self._resting()],
            most=AT_ONCE - len(self._under_way),
        )
        for part in parts:
            await self._stage(part)

    def _resting(self) -> Sequence[int]:
        """Return the parts that were refused a moment ago."""
        now = monotonic()
        self._refused_until = {id_: until for id_, until in self._refused_until.items() if until > now}
        return list(self._refused_until)

    async def _end_settled(self) -> None:
        """Take away what is stored; what is settled and is not there (deleted since, or refused) is taken again."""
        settled = [part_id for part_id, batch in self._under_way.items() if batch.settled]
        if not settled:
            return
        ended = await end_parts(self._process.pool, settled)
        for part_id in settled:
            batch = self._under_way.pop(part_id)
            if part_id not in ended:
                log.warning("memory_not_stored", forwarder_id=batch.forwarder_id, part_id=part_id)
                self._refused_until[part_id] = monotonic() + AGAIN_AFTER_S

    async def _stage(self, part: MemoryPart) -> None:
        reader_ip = memory_of(part.reader_ip)
        # Without a bound on readers: an operator wants it, and it is no reader more.
        streams = await register_streams(
            self._process.pool, part.forwarder_id, [reader_ip], part.display_name
        )
        self._process.notifier.notify(STREAMS)
        batch = Batch(
            forwarder_id=part.forwarder_id,
            session_id=uuid4(),
            fence=NO_SESSIONS_FENCE,
            display_name=part.display_name,
            streams=streams,
            batch_id=f"memory {part.part_id}",
            received_at=self._process.presence.clock.now(),  # one clock for all machines
            size=sum(map(len, part.lines)),
            on_settled=self._loop.wake,
        )
        split(batch, _events(reader_ip, part))
        # Known before it is handed over, which may settle it at once.
        self._under_way[part.part_id] = batch
        self._staging.submit(batch)


def _events(reader_ip: str, part: MemoryPart) -> list[ReadEvent]:
    return [
        ReadEvent(
            reader_ip=reader_ip,
            stream_epoch=part.stream_epoch,
            seq=seq,
            reader_timestamp=_told(line),
            read_type="fsls" if line.endswith((b"FS", b"LS")) else "raw",
            # As readers send it: what receivers of either generation and exports are given is as of any other read.
            raw_frame=line + b"\r\n",
        )
        for seq, line in enumerate(part.lines, part.first_seq)
    ]


def _told(line: bytes) -> str:
    """Return the reader's time as forwarders write it; nothing where the line does not say it."""
    _, read_at, _ = annotate_frame(line)
    return "" if read_at is None else read_at.isoformat(timespec="milliseconds")
