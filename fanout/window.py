"""The newest events of a stream as one generation of receivers gets them: each encoded once, shared by all. Pure."""

from bisect import bisect_right
from operator import attrgetter

from fanout.events import Event, Slice, fitting, slice_of

__all__ = ["NOTHING_NEW", "Window"]

# About a minute of a busy reader, 0.5 MB; who is further behind reads pages. Long lines make it shorter.
WINDOW_EVENTS = 2_000
WINDOW_BYTES = 1024 * 1024
# Receivers that keep up are at one place or two; joining once more for those who do not is cheap.
KEPT_SLICES = 8

NOTHING_NEW = Slice(b"", 0, (), ())

_position = attrgetter("position")


class Window:
    """All events of a stream with positions above `start`, up to its head."""

    def __init__(self, head: int) -> None:
        self.start = head
        self.bytes = 0  # how long its events are together, as JSON
        self._events: list[Event] = []
        self.slices: dict[tuple[int, int], tuple[Slice, int]] = {}

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_half_full(self) -> bool:
        """Whether as much again would push out what it holds now."""
        return len(self._events) >= WINDOW_EVENTS // 2 or self.bytes >= WINDOW_BYTES // 2

    def empty(self, head: int) -> None:
        """Let go of everything: who is behind the head reads pages."""
        self.start = head
        self._events, self.bytes = [], 0
        self.slices.clear()

    def extend(self, events: list[Event]) -> None:
        """Add what follows the head, and let go of what is too old."""
        self._events.extend(events)
        self.bytes += sum([len(event.json) for event in events])
        if len(self._events) > WINDOW_EVENTS or self.bytes > WINDOW_BYTES:
            self._shorten()
        self.slices.clear()

    def _shorten(self) -> None:
        surplus = max(0, len(self._events) - WINDOW_EVENTS)
        self.bytes -= sum(len(event.json) for event in self._events[:surplus])
        while self.bytes > WINDOW_BYTES:
            self.bytes -= len(self._events[surplus].json)
            surplus += 1
        if surplus:
            self.start = self._events[surplus - 1].position
            del self._events[:surplus]

    def after(self, position: int, limit: int) -> tuple[Slice, int] | None:
        """Return up to `limit` events after `position`, joined, and the position reached; None before the window.

        All receivers at the same place share one slice.
        """
        if position < self.start:
            return None
        found = self.slices.get((position, limit))
        if found is None:
            first = bisect_right(self._events, position, key=_position)
            events = self._events[first : first + limit]
            if not events:
                return NOTHING_NEW, position
            del events[fitting(events, limit) :]
            found = self.slices[position, limit] = slice_of(events), events[-1].position
            if len(self.slices) > KEPT_SLICES:
                del self.slices[next(iter(self.slices))]
        return found

    def between(self, after: int, up_to: int) -> list[Event]:
        """Return the events of a slice of which not all are wanted, one by one."""
        first = bisect_right(self._events, after, key=_position)
        return self._events[first : bisect_right(self._events, up_to, lo=first, key=_position)]
