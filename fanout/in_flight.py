"""What was sent and not acked, and what an ack covers. Pure."""

from collections import OrderedDict, deque
from typing import NamedTuple

from fanout.delivery import Cursor
from fanout.events import Sent
from shared.protocol.v1 import StreamRef

__all__ = ["Acked", "InFlight", "Step"]


class Acked(NamedTuple):
    """What an ack covered: so many events that were waited for, and what the receiver has now, if that is news."""

    events: int
    cursor: Cursor | None


class Step(NamedTuple):
    """What a receiver has of an epoch before a message, and once that is acked."""

    before: Cursor
    after: Cursor

    def partly(self, last_seq: int) -> Cursor | None:
        """Return what it has by an ack of a number within the message: no device in the field gives one.

        What is numbered up to that and was stored up to where the receiver was before is there, or was sent now.
        """
        if not self.before.last_seq < last_seq < self.after.last_seq:
            return None
        return Cursor(last_seq, self.before.position, None, self.before.implied)


class _Message(NamedTuple):
    number: int  # in the order of sending, over all streams
    last_seq: int  # the highest of those in it: what an ack of just this message names
    step: Step | None  # None: no cursor moves by it, or it was deleted meanwhile


class InFlight:
    """What was sent and not acked. What the pace waits for no longer still counts as sent."""

    # Messages that are told apart. A receiver that never acks is owed nothing by this: the oldest is dropped, and so
    # becomes one with the next of its stream and epoch, which is covered by what covers that.
    MOST_MESSAGES = 10_000

    def __init__(self) -> None:
        self.events = 0  # that are waited for
        self._last = 0
        self._waiting: OrderedDict[int, int] = OrderedDict()  # events by number of their message
        # Of each message the stream and epoch, by its number.
        self.told_apart: OrderedDict[int, tuple[StreamRef, int]] = OrderedDict()
        self.sent: dict[tuple[StreamRef, int], _Messages] = {}  # by stream and epoch

    def add(self, ref: StreamRef, sent: Sent, step: Step | None) -> Cursor | None:
        """Note that something was sent, and what the receiver has before it, and once it and all before are acked;
        None: its ack moves no cursor.

        What a generation is not sent is covered by the ack of what was sent before it. Where nothing was, nothing waits
        for an ack: then it is returned what the receiver has already.
        """
        key = ref, sent.stream_epoch
        if not sent.shown:
            before = self.sent.get(key)
            if before is not None and step is not None:
                before.extend_last(step.after)
            return step.after if before is None and step is not None else None
        self._last += 1
        self._waiting[self._last] = sent.shown
        self.events += sent.shown
        self.told_apart[self._last] = key
        of_epoch = self.sent.get(key)
        if of_epoch is None:
            of_epoch = self.sent[key] = _Messages()
        of_epoch.append(_Message(self._last, sent.named, step))
        if len(self.told_apart) > self.MOST_MESSAGES:
            self._drop_oldest()
        return None

    def _drop_oldest(self) -> None:
        _, key = self.told_apart.popitem(last=False)
        of_epoch = self.sent[key]
        self.events -= self._waiting.pop(of_epoch.drop_oldest().number, 0)
        if not len(of_epoch):
            del self.sent[key]

    def ack(self, ref: StreamRef, epoch: int, last_seq: int) -> Acked:
        """Take out what an ack covers.

        In the order of sending within its stream and epoch: all up to the oldest message whose highest number it names;
        where none has just that number, the leading messages at or below it. So the ack of 10 says nothing of the late
        ones 1..5 that were sent after 6..10.
        """
        of_epoch = self.sent.get((ref, epoch))
        if of_epoch is None:
            return Acked(0, None)
        before = self.events
        cursor: Cursor | None = None
        for message in of_epoch.take(last_seq):
            cursor = message.step.after if message.step else None
            self.events -= self._waiting.pop(message.number, 0)
            del self.told_apart[message.number]
        cursor = of_epoch.partly(last_seq) or cursor
        if not len(of_epoch):
            del self.sent[ref, epoch]
        return Acked(before - self.events, cursor)

    def void(self, ref: StreamRef) -> None:
        """A stream begins anew: what was sent before will be acked, and must not count."""
        for (of, _), of_epoch in self.sent.items():
            if of == ref:
                of_epoch.void()

    def forget(self, events: int) -> None:
        """Wait no more for the oldest acks, of at least so many events."""
        until = self.events - events
        while self._waiting and self.events > until:
            self.events -= self._waiting.popitem(last=False)[1]


class _Messages:
    """Messages of one stream and epoch in the order of sending."""

    def __init__(self) -> None:
        self._messages: deque[_Message] = deque()
        self._named: dict[int, int] = {}  # how many messages, by their highest number

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: _Message) -> None:
        self._messages.append(message)
        self._named[message.last_seq] = self._named.get(message.last_seq, 0) + 1

    def extend_last(self, after: Cursor) -> None:
        """Have the ack of the last message cover what was not sent behind it."""
        last = self._messages[-1]
        if last.step is not None:
            self._messages[-1] = last._replace(step=last.step._replace(after=after))

    def take(self, last_seq: int) -> list[_Message]:
        """Take out what an ack of `last_seq` covers; costs no more than what it takes out."""
        taken: list[_Message] = []
        if last_seq in self._named:
            while not taken or taken[-1].last_seq != last_seq:
                taken.append(self.drop_oldest())
        else:
            while self._messages and self._messages[0].last_seq <= last_seq:
                taken.append(self.drop_oldest())
        return taken

    def partly(self, last_seq: int) -> Cursor | None:
        """Return what an ack says of the oldest message that it does not cover."""
        oldest = self._messages[0] if self._messages else None
        return oldest.step.partly(last_seq) if oldest and oldest.step else None

    def drop_oldest(self) -> _Message:
        message = self._messages.popleft()
        self._named[message.last_seq] -= 1
        if not self._named[message.last_seq]:
            del self._named[message.last_seq]
        return message

    def void(self) -> None:
        self._messages = deque(message._replace(step=None) for message in self._messages)
