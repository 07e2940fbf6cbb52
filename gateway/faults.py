"""What is wrong with one device by what it sends: told to operators, and braked where it would come again at once.

A fault stands in the database, where every api process sees it, until a batch of the device was acked. To tell of one
may fail: that is no reason to take no reads.
"""

from collections.abc import Iterable, Sequence
from time import monotonic

from gateway.brake import Brake
from gateway.store.faults import Fault, clear_faults, note_fault
from shared.errors import RtServerError
from shared.log import get_logger
from shared.protocol.memory import is_memory
from shared.runtime.process import Process
from shared.transport.tokens import Identity

__all__ = ["Faults"]

# A device sends again what was left out, with every batch.
REPEAT_AFTER_S = 30.0
# So many names of readers or epochs are told, and how many more there are.
NAMES_TOLD = 10
MIB = 1024 * 1024
_OVER_WITH_AN_ACK: tuple[Fault, ...] = ("malformed", "long_line", "dead_letter")

log = get_logger(__name__)


class Faults:
    """The faults of one session's device."""

    def __init__(self, process: Process, brake: Brake, identity: Identity) -> None:
        self._process = process
        self._brake = brake
        self._identity = identity
        self._acked = False
        self._told_at: dict[Fault, float] = {}

    async def found(self, fault: Fault, complaint: str) -> None:
        """Brake the device and say why."""
        delay_s = self._brake.pull(self._identity.token_id, now=monotonic())
        self._note("forwarder_braked", fault=fault, complaint=complaint, seconds=delay_s)
        await self._store(fault, complaint)

    async def too_large(self, at_most: int) -> None:
        """Brake the device for a message that is too long to be read, and say why."""
        what = f"a message of over {at_most // MIB} MiB, which is not read"
        await self.found("malformed", f"{what}; have it send fewer reads at once (batch_max_events)")

    async def readers_left_out(self, readers: Iterable[str], *, at_most: int) -> None:
        """Say that reads of these readers are not taken, because a device may have so many."""
        named = sorted(readers)
        taken = any(map(is_memory, named))
        why = "a name that ends in #memory is no reader's" if taken else f"more than {at_most} readers"
        complaint = f"{why}; not taken: {_first_of(named)}"
        await self._left_out("too_many_readers", "readers_left_out", complaint)

    async def epochs_left_out(self, epochs: Iterable[tuple[str, int]], *, at_most: int) -> None:
        """Say that reads of these readers' epochs are not taken, because a device may begin so many."""
        named = _first_of([f"{reader_ip} epoch {epoch}" for reader_ip, epoch in sorted(epochs)])
        complaint = f"more than {at_most} epochs; not taken: {named}"
        await self._left_out("too_many_epochs", "epochs_left_out", complaint)

    async def _left_out(self, fault: Fault, event: str, complaint: str) -> None:
        now = monotonic()
        if now - self._told_at.get(fault, -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
            self._told_at[fault] = now
            self._note(event, complaint=complaint)
            await self._store(fault, complaint)

    async def acked(self) -> None:
        """Admit the device as ever, after a batch of its was acked."""
        self._brake.release(self._identity.token_id)
        if self._acked:
            return
        try:
            # Another gateway may have noted them. Once is enough: what comes in this session ends it.
            await clear_faults(self._process.pool, self._identity.device_id, _OVER_WITH_AN_ACK)
            self._acked = True
        except RtServerError as error:
            log.debug("faults_not_cleared", error=str(error))

    def _note(self, event: str, **fields: object) -> None:
        forwarder_id = self._identity.device_id
        log.warning(event, forwarder_id=forwarder_id, **fields)
        self._process.activity.note(
            event, level="error", of=forwarder_id, own=False, forwarder_id=forwarder_id, **fields
        )

    async def _store(self, fault: Fault, complaint: str) -> None:
        try:
            await note_fault(self._process.pool, self._identity.device_id, fault, complaint)
        except RtServerError as error:
            log.debug("fault_not_stored", error=str(error))


def _first_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
    return ", ".join(names[:NAMES_TOLD]) + more
