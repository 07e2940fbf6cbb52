"""How fast a receiver is sent what there is.

Receivers in the field hold 256 events between their socket and their consumers, drop the oldest beyond, and ack what
came before it has passed there: acks pace nothing (protocol.md, section 5.5). So after each message a receiver is given
a pause in proportion to its events. One read alone waits for nothing: pauses add up, and are made when they are worth
a timer.

Pure: no socket, no clock.
"""

from fanout.settings import FanoutSettings

__all__ = ["Pace"]

# A loop's timer is no finer.
WORTH_A_TIMER_S = 0.001


class Pace:
    """When the next message may go out. Times are of the loop's clock, in seconds."""

    def __init__(self, settings: FanoutSettings, events_per_second: int | None) -> None:
        """events_per_second: the receiver's own, for both ways; None: as the settings say. 0 is without a pause."""
        live, replay = settings.live_events_per_second, settings.replay_events_per_second
        if events_per_second is not None:
            live = replay = events_per_second
        self._live_s = 1 / live if live else 0.0
        self._replay_s = 1 / replay if replay else 0.0
        self._free_at = 0.0

    @classmethod
    def of_second_generation(cls, settings: FanoutSettings, events_per_second: int | None) -> "Pace":
        """Return the pace of a receiver that bears less, and no more live than while it catches up."""
        usual = settings.second_generation_events_per_second
        return cls(settings, usual if events_per_second is None else events_per_second)

    def sent(self, now: float, events: int, *, live: bool) -> None:
        """Note that a message of so many events has gone out."""
        self._free_at = max(self._free_at, now) + events * (self._live_s if live else self._replay_s)

    def pause_s(self, now: float) -> float:
        """Return how long the next message has to wait."""
        pause = self._free_at - now
        return pause if pause >= WORTH_A_TIMER_S else 0.0
